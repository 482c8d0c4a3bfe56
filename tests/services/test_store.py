"""What the store keeps, lists and puts back when nothing is broken."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from taskd.disk.syscalls import Disk
from taskd.model.agent import Usage
from taskd.model.errors import Code, TaskdError
from taskd.model.limits import Limits
from taskd.model.records import Turn
from tests.services.store_world import NOW, FilelessProtocol, World, header, record, turn


@pytest.fixture
def world(tmp_path):
    with World(tmp_path / "state") as world:
        yield world


def _mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_new_task_has_its_folders_its_record_and_an_empty_native_session(world):
    opened = world.prepare(cwd="/somewhere")

    assert opened.task_dir == world.path()
    assert opened.cwd == "/somewhere"
    assert opened.native_session == world.path("agent", "session.jsonl") == world.store.paths("t1").native_session
    assert (opened.turn_count, opened.usage, opened.dropped) == (0, Usage(), None)
    assert world.native() == header("/somewhere")
    assert sorted(os.listdir(world.path())) == ["agent", "agent-copy", "outputs", "task.json", "uploads", "work"]
    assert not os.path.exists(world.store.paths("t1").session_file)


def test_nobody_else_can_read_the_state(world):
    world.prepare()
    world.save("a")

    folders = {"": 0o700, "agent": 0o700, "agent-copy": 0o700, "work": 0o755, "outputs": 0o755, "uploads": 0o755}
    files = ("task.json", "session.json", "agent/session.jsonl", "agent-copy/001.jsonl")
    assert _mode(world.dir) == 0o700
    assert {name: _mode(world.path(name)) for name in folders} == folders
    assert {_mode(world.path(name)) for name in files} == {0o600}


def test_a_saved_turn_is_read_back_with_its_number_its_usage_and_the_task_s_settings(world):
    world.prepare()

    assert world.store.save_turn(record(model="m", provider="p"), turn("a", number=77)) == 1
    assert world.store.save_turn(record(model="n", provider="p"), turn("b")) == 2

    session = world.store.read_session("t1")
    assert (session.turn_count, session.saved_at, session.model, session.provider) == (2, NOW, "n", "p")
    assert session.usage == Usage(input=20, output=2, total_tokens=22, cost=1.0)
    assert msgspec.json.decode(session.turns[0], type=Turn) == turn("a", number=1)
    assert world.turn_ids(from_turn=2) == ["b"]
    assert world.turn_ids(from_turn=3) == []


def test_the_same_turn_saved_twice_is_one_turn(world):
    world.prepare()
    world.save("a")
    world.save("b")

    assert [world.save("b"), world.save("a")] == [2, 2]
    assert world.turn_ids() == ["a", "b"]


def test_a_turn_with_the_number_it_will_get_is_saved_once_too(world):
    world.prepare()

    assert [world.save("a", number=1), world.save("b", number=2), world.save("b", number=2)] == [1, 2, 2]
    assert world.again().save("b", number=2) == 2
    assert world.turn_ids() == ["a", "b"]


def test_a_daemon_that_starts_anew_finds_every_task(world):
    for task_id in ("t1", "t2"):
        world.prepare(task_id)
    world.save("a", "t2")

    first, second = world.again().store.load()

    assert (first.record, first.turn_count, first.problem) == (record("t1"), 0, "")
    assert (second.record, second.turn_count, second.usage.input) == (record("t2"), 1, 10)


def test_what_is_no_task_is_left_out_and_left_alone(world, tmp_path):
    world.prepare()
    os.mkdir(os.path.join(world.dir, ".taskd"))
    os.mkdir(os.path.join(world.dir, "empty"))
    os.mkdir(os.path.join(world.dir, "not a task"))
    os.mkdir(os.path.join(world.dir, "sessions"))
    os.symlink(world.path(), os.path.join(world.dir, "link"))
    with open(os.path.join(world.dir, "file"), "wb"):
        pass

    assert [known.record.task_id for known in world.store.load()] == ["t1"]
    assert len(os.listdir(world.dir)) == 7


def test_a_long_session_is_listed_without_being_read_whole(world):
    world.prepare()
    world.save("a", text="x" * 200_000)
    world.save("b")
    read = []

    class Watching(Disk):
        def open(self, name, flags, mode=0o600, *, dir_fd):
            read.append(name)
            return super().open(name, flags, mode, dir_fd=dir_fd)

    world.again(disk=Watching())
    (known,) = world.store.load()

    assert (known.turn_count, known.usage.input) == (2, 20)
    assert read.count("session.json") == 1


def test_the_agent_s_file_is_put_back_to_the_last_completed_turn(world):
    world.prepare()
    world.agent_says(b"one\n")
    world.save("a")
    world.agent_says(b"never ended\nto")

    opened = world.prepare()

    assert world.native() == header("/w") + b"one\n"
    assert (opened.turn_count, opened.dropped.native_bytes, opened.dropped.generation) == (1, 14, "")
    assert world.prepare().dropped is None


def test_with_no_completed_turn_the_agent_begins_anew(world):
    world.prepare()
    world.agent_says(b"a prompt that was never answered\n")

    opened = world.prepare(cwd="/elsewhere")

    assert world.native() == header("/elsewhere")
    assert opened.dropped.native_bytes == len(b"a prompt that was never answered\n")
    assert world.prepare(cwd="/a/much/longer/folder/than/before").dropped is None


def test_a_torn_record_is_not_part_of_a_turn(world):
    world.prepare()
    world.agent_says(b"one\ntor")
    world.save("a")
    world.agent_says(b"n\ntwo\n")
    world.save("b")

    world.prepare()

    assert world.native() == header("/w") + b"one\ntorn\ntwo\n"


def test_a_lost_or_shortened_or_foreign_agent_s_file_is_restored_from_the_copy(world):
    world.prepare()
    world.agent_says(b"one\n")
    world.save("a")
    whole = world.native()
    for damage in (b"", whole[:-2], b"something else that is longer than before\n" * 3):
        world.agent_rewrites(damage)
        world.prepare()
        assert world.native() == whole
    os.unlink(world.path("agent", "session.jsonl"))
    world.prepare()

    assert world.native() == whole


def test_a_compacted_file_is_copied_anew_and_old_copies_go_when_no_generation_needs_them(world):
    world.prepare()
    world.agent_says(b"one\n")
    world.save("a")
    for name in ("b", "c"):
        world.agent_rewrites(header("/w") + b"compacted " + name.encode() + b"\n")
        world.save(name)
    assert world.copies() == ["002.jsonl", "003.jsonl"]

    world.agent_says(b"more\n")
    world.save("d")
    world.save("e")
    world.again().prepare()

    assert world.copies() == ["003.jsonl"]
    assert world.native() == header("/w") + b"compacted c\nmore\n"


def test_a_file_replaced_by_an_extension_of_itself_goes_on_in_the_same_copy(world):
    world.prepare()
    world.agent_says(b"one\n")
    world.save("a")
    whole = world.native()
    os.unlink(world.path("agent", "session.jsonl"))
    world.agent_says(whole + b"two\n")
    world.save("b")

    assert world.copies() == ["001.jsonl"]
    world.prepare()
    assert world.native() == whole + b"two\n"


def test_a_turn_costs_a_copy_of_its_own_bytes_only(world):
    class Counting(Disk):
        written = 0

        def write(self, fd, data, offset):
            taken = super().write(fd, data, offset)
            self.written += taken
            return taken

    disk = Counting()
    world.prepare()
    world.agent_says(b"x" * 1_000_000 + b"\n")
    world.save("a")
    world.again(disk=disk)
    world.prepare()
    world.save("b")
    disk.written = 0

    world.agent_says(b"two\n")
    world.save("c")

    assert disk.written < 10_000
    world.prepare()
    assert world.native().endswith(b"x\ntwo\n")


def test_a_session_that_was_changed_under_the_daemon_s_hands_is_verified_again(world):
    world.prepare()
    world.save("a")
    world.save("b")
    with open(world.path("session.json"), "r+b") as file:
        file.seek(200)
        file.write(b"rot")
    os.utime(world.path("session.json"), (1, 1))

    assert world.save("c") == 2
    assert world.turn_ids() == ["a", "c"]


def test_many_saves_in_a_row_are_one_whole_session(world):
    world.prepare()
    for i in range(50):
        world.save(f"t{i}")
        if i % 7 == 0:
            world.again()

    assert world.turn_ids() == [f"t{i}" for i in range(50)]
    assert world.again().store.load()[0].turn_count == 50


def test_another_working_folder_is_put_into_the_agent_s_file_and_stays_there(world):
    world.prepare(cwd="/old")
    world.agent_says(b"one\n")
    world.save("a")

    for again in (False, True):
        assert world.prepare(cwd="/new/place").turn_count == 1
        assert world.native() == header("/new/place") + b"one\n"
        if again:
            world.agent_says(b"two\n")
            world.save("b")
        else:
            world.agent_rewrites(b"lost")
    assert world.prepare(cwd="/new/place").dropped is None

    assert world.native() == header("/new/place") + b"one\ntwo\n"


def test_a_long_agent_s_file_is_moved_to_another_working_folder_too(world):
    world.prepare(cwd="/old")
    said = b"".join(b"line %d\n" % i for i in range(30_000))
    world.agent_says(said)
    world.save("a")

    world.prepare(cwd="/new")

    assert world.native() == header("/new") + said


def test_an_agent_without_a_file_is_resumed_without_one(tmp_path):
    with World(tmp_path / "state", protocol=FilelessProtocol()) as world:
        world.prepare()
        world.save("a")

        opened = world.prepare()

        assert opened.turn_count == 1
        assert not os.path.exists(opened.native_session)


def test_an_agent_that_got_a_file_late_keeps_its_whole_records(tmp_path):
    with World(tmp_path / "state", protocol=FilelessProtocol()) as world:
        world.prepare()
        world.save("a")
        world.agent_says(header("/old") + b"one\ntorn")

        opened = world.prepare(cwd="/new")

        assert world.native() == header("/new") + b"one\n"
        assert opened.dropped.native_bytes == 4
        world.save("b")
        world.agent_says(b"lost\n")
        world.prepare(cwd="/new")
        assert world.native() == header("/new") + b"one\n"


def test_an_agent_that_removed_its_file_does_not_cost_the_turn(world):
    world.prepare()
    world.agent_says(b"one\n")
    world.save("a")
    os.unlink(world.path("agent", "session.jsonl"))

    assert world.save("b") == 2
    world.prepare()
    assert world.native() == header("/w") + b"one\n"
    assert world.turn_ids() == ["a", "b"]


def test_a_changed_record_is_kept_and_an_unchanged_one_is_not_written_again(world):
    world.prepare()
    world.store.update_record(record(model="new"))
    before = os.stat(world.path("task.json"))

    world.store.update_record(record(model="new"))
    world.prepare(model="new")

    after = os.stat(world.path("task.json"))
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert world.store.load()[0].record.model == "new"


def test_the_session_of_a_task_without_turns_is_empty_and_of_no_task_not_found(world):
    world.prepare()

    assert (world.store.read_session("t1").turns, world.store.read_session("t1").saved_at) == ([], "")
    with pytest.raises(TaskdError) as caught:
        world.store.read_session("nobody")
    assert caught.value.code is Code.TASK_NOT_FOUND


def test_saving_to_a_task_that_is_gone_fails_and_makes_nothing(world):
    for call in (lambda: world.save("a"), lambda: world.store.update_record(record())):
        with pytest.raises(TaskdError) as caught:
            call()
        assert (caught.value.code, caught.value.details["errno"]) == (Code.SESSION_SAVE_FAILED, "ENOENT")
    assert os.listdir(world.dir) == []


@pytest.mark.parametrize("task_id", ["..", "a/b", "", ".taskd", "a\0b", "x" * 129])
def test_no_id_leads_out_of_the_state_folder(world, task_id):
    for call in (world.store.paths, world.store.read_session, world.prepare, lambda one: world.save("a", one)):
        with pytest.raises(TaskdError) as caught:
            call(task_id)
        assert caught.value.code is Code.INVALID_PARAMS


def test_the_bound_on_a_session_leaves_out_old_turns_and_never_refuses(tmp_path):
    with World(tmp_path / "state", limits=Limits(session_bytes=5000)) as world:
        world.prepare()
        for i in range(10):
            assert world.save(f"t{i}", text="x" * 300) == i + 1

        assert os.path.getsize(world.path("session.json")) <= 5000
        assert world.turn_ids()[-1] == "t9"
        assert world.turn_ids(from_turn=10) == ["t9"]
        assert world.prepare().turn_count == 10
        assert world.save("t9") == 10


def test_different_tasks_may_be_saved_at_once(world):
    def live(task_id):
        world.prepare(task_id)
        for i in range(10):
            world.agent_says(f"{task_id} says {i}\n".encode(), task_id)
            world.save(f"turn-{i}", task_id)
        return world.prepare(task_id).turn_count

    names = [f"task-{i}" for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(live, names, timeout=30)) == [10] * 8

    for task_id in names:
        assert world.turn_ids(task_id) == [f"turn-{i}" for i in range(10)]
        assert world.native(task_id).count(task_id.encode()) == 10


def test_the_task_file_says_what_it_is(world):
    world.prepare()

    with open(world.path("task.json"), "rb") as file:
        envelope = json.load(file)

    assert (envelope["format"], envelope["version"], envelope["body"]["taskId"]) == ("taskd-task", 1, "t1")
