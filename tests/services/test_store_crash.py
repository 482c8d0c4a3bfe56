"""Whatever instant the power or the process goes: turn N or N-1, whole, and never a refusal."""

import errno
import os
import pathlib
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskd.disk.atomic import Folder
from taskd.model.errors import Code, TaskdError
from tests.disk.powercut import FailingDisk, RecordingDisk, build, states_after
from tests.services.store_world import World, header

NEVER = 1_000_000


@pytest.fixture
def memory_path(tmp_path):
    """Give a folder in memory where there is one: some thousand small trees are built and thrown away."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="taskd-test-") as path:
        yield pathlib.Path(path)


class Story:
    """A task's life on a recording disk, and what must be found after a cut at each point of it."""

    def __init__(self, root, *, fsync=True):
        self.disk = RecordingDisk(root, fsync=fsync)
        self.world = World(root, disk=self.disk)
        self.bodies = {0: b""}
        """What the agent's file says behind its header, by the number of turns."""
        self.marks = [(0, 0, 0)]
        """Length of the log, turns told, turns begun: in force until the next mark."""

    def tell(self, told, begun):
        self.marks.append((len(self.disk.log), told, begun))

    def open(self, cwd="/w"):
        self.world.prepare(cwd=cwd)

    def turn(self, said, *, rewrite=False, torn=b""):
        number = max(self.bodies) + 1
        if rewrite:
            self.world.agent_rewrites(self.world.native().split(b"\n")[0] + b"\n" + said)
            self.bodies[number] = said
        else:
            self.world.agent_says(said)
            self.bodies[number] = self.bodies[number - 1] + said
        if torn:
            self.world.agent_says(torn)
        self.tell(number - 1, number)
        assert self.world.save(f"turn-{number}") == number
        self.tell(number, number)
        if torn:
            self.world.agent_rewrites(self.world.native()[: -len(torn)])

    def told_at(self, n):
        told, begun = [mark[1:] for mark in self.marks if mark[0] <= n][-1]
        return told, begun

    def check(self, path, n):
        """Open what is left; gives a complaint, or an empty string."""
        told, begun = self.told_at(n)
        with World(path) as world:
            known = world.store.load()
            try:
                opened = world.prepare(cwd="/elsewhere")
            except TaskdError as error:
                return f"refused: {error.message}"
            count = opened.turn_count
            if not told <= count <= begun:
                return f"turn {count}, told {told}, begun {begun}"
            if known and (known[0].turn_count, known[0].problem) != (count, ""):
                return f"listed as {known[0]}"
            if world.native() != header("/elsewhere") + self.bodies[count]:
                return f"turn {count} with the agent's file {world.native()!r}"
            if world.turn_ids() != [f"turn-{i + 1}" for i in range(count)]:
                return f"turns {world.turn_ids()}"
            world.agent_says(b"next\n")
            if world.save("turn-next") != count + 1:
                return "the next turn got a wrong number"
        return ""

    def complaints(self, base, start=0):
        seen = set()
        for n in range(start, len(self.disk.log) + 1):
            for name, tree in states_after(self.disk.log, n):
                key = (self.told_at(n), str(tree))
                if key in seen:
                    continue
                seen.add(key)
                path = os.path.join(base, "cut")
                build(tree, path)
                complaint = self.check(path, n)
                shutil.rmtree(path)
                if complaint:
                    yield f"cut at {n} ({name}): {complaint}"


def _live(story):
    story.open()
    story.turn(b"one\n")
    story.turn(b"two\n", torn=b"tor")
    story.turn(b"compacted\n", rewrite=True)
    story.world.agent_says(b"a turn that never ends\nto")
    story.open()
    story.turn(b"four\n")
    story.open(cwd="/other")
    story.turn(b"five\n")
    story.open(cwd="/other")


def test_after_a_cut_at_any_call_the_task_resumes_from_the_last_or_the_running_turn(memory_path):
    root = memory_path / "state"
    root.mkdir()
    story = Story(str(root))
    with story.world:
        _live(story)

        assert list(story.complaints(str(memory_path))) == []


def test_a_store_that_did_not_sync_would_be_found_out(memory_path):
    root = memory_path / "state"
    root.mkdir()
    story = Story(str(root), fsync=False)
    with story.world:
        story.open()
        story.turn(b"one\n")

        assert next(story.complaints(str(memory_path)), "") != ""


def test_a_cut_while_a_broken_generation_is_replaced_loses_nothing_more(memory_path):
    root = memory_path / "state"
    root.mkdir()
    story = Story(str(root))
    with story.world:
        story.open()
        story.turn(b"one\n")
        story.turn(b"two\n")
        with Folder.open(story.world.path(), story.disk) as task, task.opened("session.json", os.O_RDWR) as fd:
            story.disk.write(fd, b"rot", 200)
            story.disk.sync(fd)
        damaged = len(story.disk.log)
        story.marks.append((damaged, 1, 1))
        story.open()

        assert list(story.complaints(str(memory_path), start=damaged)) == []


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"") + b"\n")),
        st.tuples(st.just("compact"), st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"") + b"\n")),
        st.tuples(st.just("open"), st.sampled_from(["/w", "/v"])),
        st.tuples(st.just("restart"), st.sampled_from(["/w", "/v"])),
        st.tuples(st.just("babble"), st.binary(min_size=1, max_size=12)),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, data=st.data())
def test_any_life_survives_a_cut_at_any_call(memory_path, steps, data):
    root = memory_path / "state"
    root.mkdir()
    story = Story(str(root))
    try:
        with story.world:
            story.open()
            for kind, what in steps:
                if kind in {"turn", "compact"}:
                    story.turn(what, rewrite=kind == "compact")
                elif kind == "babble":
                    story.world.agent_says(what + b"\n" * (what[0] % 2))
                    story.open()
                else:
                    if kind == "restart":
                        story.world.again(disk=story.disk)
                    story.open(cwd=what)
            n = data.draw(st.integers(0, len(story.disk.log)))
            states = list(states_after(story.disk.log, n))
            name, tree = states[data.draw(st.integers(0, len(states) - 1))]
            build(tree, str(memory_path / "cut"))

            assert story.check(str(memory_path / "cut"), n) == "", name
    finally:
        shutil.rmtree(root)
        shutil.rmtree(memory_path / "cut", ignore_errors=True)


def _error_of(call):
    try:
        call()
    except TaskdError as error:
        return error
    return None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize("rewrite", [False, True])
def test_a_fault_at_any_call_of_a_save_is_told_and_costs_nothing(memory_path, number, forever, rewrite):
    seen = 0
    for at in range(100):
        with World(memory_path / f"state{at}") as world:
            world.prepare()
            world.agent_says(b"one\n")
            world.save("turn-1")
            if rewrite:
                world.agent_rewrites(header("/w") + b"new\n")
            else:
                world.agent_says(b"two\n")
            after = world.native()
            disk = FailingDisk(at, number, forever=forever)
            world.again(disk=disk)

            error = _error_of(lambda world=world: world.save("turn-2"))
            if error is None:
                break
            seen += 1
            assert (error.code, error.retryable) == (Code.SESSION_SAVE_FAILED, True)
            assert error.details["errno"] == errno.errorcode[number]

            disk.at = NEVER
            disk._forever = False
            assert len(world.turn_ids()) in (1, 2)
            assert world.save("turn-2") == 2
            world.again().prepare()
            assert world.turn_ids() == ["turn-1", "turn-2"]
            assert world.native() == after
            assert world.copies() in (["001.jsonl"], ["001.jsonl", "002.jsonl"])
    assert seen >= 5


def test_a_fault_at_any_call_of_an_opening_is_told_and_the_next_one_succeeds(memory_path):
    seen = 0
    for at in range(100):
        with World(memory_path / f"state{at}") as world:
            world.prepare()
            world.agent_says(b"one\n")
            world.save("turn-1")
            world.agent_says(b"lost")
            disk = FailingDisk(at, errno.EIO)
            world.again(disk=disk)

            error = _error_of(lambda world=world: world.prepare(cwd="/other", model="changed"))
            if error is None:
                break
            seen += 1
            assert (error.code, error.details["errno"]) == (Code.TASK_BOOTSTRAP_FAILED, "EIO")

            world.again().prepare(cwd="/other")
            assert world.native() == header("/other") + b"one\n"
    assert seen >= 5


def test_a_save_that_failed_at_its_very_last_fsync_is_made_durable_by_the_next_try(memory_path):
    with World(memory_path / "state") as world:
        world.prepare()
        disk = FailingDisk(NEVER, errno.EIO, only="sync")
        world.again(disk=disk).save("turn-1")
        world.agent_says(b"two\n")
        disk.at = disk.calls + 2  # after the copy's and the temporary file's: the folder's
        with pytest.raises(TaskdError):
            world.save("turn-2")
        assert world.turn_ids() == ["turn-1", "turn-2"]
        before = disk.calls

        assert world.save("turn-2") == 2
        assert disk.calls > before
        before = disk.calls
        assert world.save("turn-2") == 2
        assert disk.calls == before
