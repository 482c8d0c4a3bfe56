"""One daemon for one state folder."""

import os
import subprocess
import sys

import pytest

from taskd.disk.beneath import PathRefused
from taskd.disk.lock import StateLock
from taskd.model.errors import Code, TaskdError

HOLDER = """
import os, sys
from taskd.disk.lock import StateLock
lock = StateLock.take(sys.argv[1], os.getpid())
sys.stdout.buffer.write(b"held\\n")
sys.stdout.buffer.flush()
os.read(0, 1)
"""


def test_a_second_daemon_is_told_who_holds_the_folder(tmp_path):
    with StateLock.take(str(tmp_path), 4711), pytest.raises(TaskdError) as caught:
        StateLock.take(str(tmp_path), 4712)

    assert "4711" in caught.value.message
    assert caught.value.code is Code.INTERNAL_ERROR
    assert caught.value.details == {"reason": "locked", "pid": 4711, "path": str(tmp_path / ".taskd/lock")}


def test_the_lock_can_be_taken_again_when_it_was_given_up(tmp_path):
    first = StateLock.take(str(tmp_path), 1_000_000)
    first.close()
    first.close()

    with StateLock.take(str(tmp_path), 7), pytest.raises(TaskdError) as caught:
        StateLock.take(str(tmp_path), 8)

    assert caught.value.details["pid"] == 7


def test_a_killed_holder_leaves_no_lock_and_its_children_do_not_keep_it(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.read(5) == b"held\n"
        with pytest.raises(TaskdError) as caught:
            StateLock.take(str(tmp_path), os.getpid())
        assert caught.value.details["pid"] == holder.pid
        holder.kill()
        holder.wait(timeout=10)

    StateLock.take(str(tmp_path), os.getpid()).close()


def test_an_unwritten_pid_is_no_hindrance(tmp_path):
    with StateLock.take(str(tmp_path), 1):
        (tmp_path / ".taskd/lock").write_bytes(b"")
        with pytest.raises(TaskdError, match="another process"):
            StateLock.take(str(tmp_path), 2)


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path):
    (tmp_path / ".taskd").mkdir()
    (tmp_path / "other").write_bytes(b"precious")
    (tmp_path / ".taskd/lock").symlink_to(tmp_path / "other")

    with pytest.raises(PathRefused):
        StateLock.take(str(tmp_path), 1)
    assert (tmp_path / "other").read_bytes() == b"precious"
