"""What a damaged, foreign or hostile folder costs: one turn at most, and never a file that could still be read."""

import os

import pytest

from taskd.model.errors import Code, TaskdError
from taskd.model.limits import Limits
from tests.services.store_world import World, header, record


@pytest.fixture
def world(tmp_path):
    """A task with two turns."""
    with World(tmp_path / "state") as world:
        world.prepare()
        for name in ("one", "two"):
            world.agent_says(name.encode() + b"\n")
            world.save(name)
        yield world


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _damage(path, how):
    data = _read(path)
    if how == "link":
        os.unlink(path)
        os.symlink("/etc/hostname", path)
        return
    broken = {
        "blank": b"",
        "zeros": bytes(len(data)),
        "torn": data[:-30],
        "flipped": data[:-30] + b"#" + data[-29:],
        "foreign": b'{"type":"session","version":3}\n',
        "other": data.replace(b'"taskId":"t1"', b'"taskId":"t2"'),
    }[how]
    with open(path, "wb") as file:
        file.write(broken)


HOWS = ["blank", "zeros", "torn", "flipped", "foreign", "other", "link"]


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_session_resumes_from_the_turn_before_and_the_damaged_file_is_kept(world, how):
    _damage(world.path("session.json"), how)
    damaged = os.readlink(world.path("session.json")) if how == "link" else _read(world.path("session.json"))
    assert world.again().store.load()[0].turn_count == 1

    opened = world.prepare()

    assert opened.turn_count == 1
    assert opened.dropped.generation == "previous"
    assert opened.dropped.reason
    assert opened.dropped.native_bytes == len(b"two\n")
    assert world.native() == header("/w") + b"one\n"
    bad = world.path("session.bad.json")
    assert (os.readlink(bad) if how == "link" else _read(bad)) == damaged
    world.agent_says(b"again\n")
    assert world.save("again") == 2
    assert world.prepare().dropped is None
    assert world.turn_ids() == ["one", "again"]


@pytest.mark.parametrize("how", HOWS)
def test_damage_to_both_generations_is_told_and_every_file_is_kept(world, how):
    before = {}
    for name in ("session.json", "session.prev.json"):
        _damage(world.path(name), how)
        before[name] = os.lstat(world.path(name)).st_ino
    (known,) = world.again().store.load()
    assert "cannot be resumed" in known.problem
    assert known.record == record()

    for call in (world.prepare, lambda: world.save("three"), lambda: world.store.read_session("t1")):
        with pytest.raises(TaskdError) as caught:
            call()
        assert caught.value.code is Code.SESSION_CORRUPT
        assert set(caught.value.details["reasons"]) == {"session.json", "session.prev.json"}
    assert {name: os.lstat(world.path(name)).st_ino for name in before} == before
    assert world.native() == header("/w") + b"one\ntwo\n"


def test_a_removed_session_resumes_from_the_turn_before(world):
    os.unlink(world.path("session.json"))

    opened = world.again().prepare()

    assert (opened.turn_count, opened.dropped.generation, opened.dropped.reason) == (1, "previous", "missing")


def test_a_session_that_is_damaged_while_the_agent_runs_costs_one_turn_and_is_healed_by_the_next_save(world):
    _damage(world.path("session.json"), "torn")

    assert world.save("three") == 2
    assert world.turn_ids() == ["one", "three"]


def test_a_session_of_a_newer_daemon_is_never_touched(world):
    path = world.path("session.json")
    data = _read(path).replace(b'"version":1', b'"version":2', 1)
    with open(path, "wb") as file:
        file.write(data)

    for call in (world.prepare, lambda: world.save("three"), lambda: world.store.read_session("t1")):
        with pytest.raises(TaskdError, match="newer taskd") as caught:
            call()
        assert caught.value.code is Code.SESSION_CORRUPT
        assert caught.value.details["reason"] == "newer"
    assert "newer taskd" in world.store.load()[0].problem
    assert _read(path) == data
    assert world.native() == header("/w") + b"one\ntwo\n"


def test_a_record_of_a_newer_daemon_is_never_touched(world):
    path = world.path("task.json")
    data = _read(path).replace(b'"version":1', b'"version":2', 1)
    with open(path, "wb") as file:
        file.write(data)

    for call in (world.prepare, lambda: world.store.update_record(record())):
        with pytest.raises(TaskdError, match="newer taskd"):
            call()
    assert "newer taskd" in world.store.load()[0].problem
    assert _read(path) == data


def test_a_session_above_the_bound_is_good_and_no_reason_to_go_back(world):
    world.again(limits=Limits(session_bytes=500))

    with pytest.raises(TaskdError, match="session_bytes") as caught:
        world.prepare()
    assert caught.value.details["reason"] == "too_big"
    assert "session_bytes" in world.store.load()[0].problem
    assert world.again(limits=Limits()).prepare().turn_count == 2


@pytest.mark.parametrize("how", HOWS)
def test_a_broken_record_is_rebuilt_from_the_session(world, how):
    _damage(world.path("task.json"), how)

    (known,) = world.again().store.load()

    assert known.problem == ""
    assert (known.record.task_id, known.record.agent, known.turn_count) == ("t1", "lines", 2)
    world.store.prepare(known.record, world.protocol, "/w", "2026", "s")
    assert world.again().store.load()[0].record == known.record


def test_a_broken_record_without_a_session_is_a_problem_and_a_new_one_may_be_written(tmp_path):
    with World(tmp_path / "state") as world:
        world.prepare()
        _damage(world.path("task.json"), "torn")

        (known,) = world.store.load()
        assert known.problem == "task.json: torn"
        with pytest.raises(TaskdError) as caught:
            world.store.read_session("t1")
        assert caught.value.code is Code.SESSION_CORRUPT

        world.prepare()
        assert world.store.load()[0].problem == ""


def test_when_the_native_bytes_of_the_last_turn_are_lost_the_turn_before_counts(world):
    with open(world.path("agent-copy", "001.jsonl"), "r+b") as copy:
        copy.truncate(len(header("/w")) + 5)
    world.agent_rewrites(b"gone")

    opened = world.again().prepare()

    assert (opened.turn_count, opened.dropped.generation, opened.dropped.reason) == (1, "previous", "native_lost")
    assert world.native() == header("/w") + b"one\n"


def test_when_all_native_bytes_are_lost_nothing_is_overwritten(world):
    os.unlink(world.path("agent-copy", "001.jsonl"))
    world.agent_rewrites(b"gone")

    with pytest.raises(TaskdError) as caught:
        world.prepare()

    assert caught.value.details["reasons"] == {"session.json": "native_lost", "session.prev.json": "native_lost"}
    assert world.native() == b"gone"
    assert len(world.turn_ids()) == 2


def test_a_damaged_copy_is_replaced_by_a_new_one_while_the_agent_s_file_is_whole(world):
    with open(world.path("agent-copy", "001.jsonl"), "r+b") as copy:
        copy.write(b"rot")
    world.again().prepare()
    world.agent_says(b"three\n")
    world.save("three")
    world.agent_rewrites(b"")

    world.again().prepare()

    assert world.native() == header("/w") + b"one\ntwo\nthree\n"


def test_bytes_behind_the_mark_of_a_copy_are_cut_by_the_next_save(world):
    with open(world.path("agent-copy", "001.jsonl"), "ab") as copy:
        copy.write(b"left by a save that never ended" * 10)
    world.agent_says(b"three\n")

    world.save("three")

    assert _read(world.path("agent-copy", "001.jsonl")) == world.native()


def test_a_link_in_the_place_of_the_agent_s_file_is_replaced_and_its_target_left_alone(world, tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"precious\n")
    native = world.path("agent", "session.jsonl")
    os.unlink(native)
    os.symlink(target, native)

    assert world.save("three") == 3
    world.prepare()

    assert target.read_bytes() == b"precious\n"
    assert not os.path.islink(native)
    assert world.native() == header("/w") + b"one\ntwo\n"


def test_a_second_name_of_the_agent_s_file_is_not_cut(world):
    native, other = world.path("agent", "session.jsonl"), world.path("work", "other")
    world.agent_says(b"not yet saved\n")
    os.link(native, other)

    world.prepare()

    assert _read(other) == header("/w") + b"one\ntwo\nnot yet saved\n"
    assert world.native() == header("/w") + b"one\ntwo\n"


def test_a_pipe_in_the_place_of_a_file_blocks_nobody(world):
    for name in ("agent/session.jsonl", "session.json"):
        os.unlink(world.path(name))
        os.mkfifo(world.path(name))

    opened = world.again().prepare()

    assert (opened.turn_count, opened.dropped.reason) == (1, "not_a_regular_file")
    assert world.native() == header("/w") + b"one\n"


@pytest.mark.parametrize("name", ["agent", "agent-copy", "work", "outputs", "uploads"])
def test_a_link_in_the_place_of_a_folder_is_refused(world, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    os.rename(world.path(name), tmp_path / "moved")
    os.symlink(outside, world.path(name))

    with pytest.raises(TaskdError) as caught:
        world.prepare()

    assert caught.value.code is Code.WORKSPACE_POLICY_VIOLATION
    assert caught.value.details == {"taskId": "t1", "field": name, "reason": "link"}
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_the_task_is_no_task(world, tmp_path):
    os.rename(world.path(), tmp_path / "moved")
    os.symlink(tmp_path / "moved", world.path())

    assert world.store.load() == []
    with pytest.raises(TaskdError) as caught:
        world.prepare()
    assert caught.value.code is Code.WORKSPACE_POLICY_VIOLATION


def test_left_overs_of_crashes_are_swept_from_our_folders_only(world):
    for where in ("", "agent", "agent-copy", "work"):
        with open(world.path(where, ".taskd-0123.tmp"), "wb"):
            pass
    with open(world.path("agent-copy", "009.jsonl"), "wb"):
        pass

    world.prepare()

    assert not os.path.exists(world.path(".taskd-0123.tmp"))
    assert os.listdir(world.path("agent")) == ["session.jsonl"]
    assert world.copies() == ["001.jsonl"]
    assert os.listdir(world.path("work")) == [".taskd-0123.tmp"]
