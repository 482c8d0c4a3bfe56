"""Durable files: whole at every instant, bounded when read, and never through a link."""

import errno
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.disk import atomic
from taskd.disk.atomic import Folder, TooBig
from taskd.disk.beneath import PathRefused, Reason
from taskd.disk.syscalls import Disk
from tests.disk.powercut import FailingDisk, RecordingDisk, build, states_after


class LinklessDisk(Disk):
    """A file system without hard links."""

    def link(self, old, new, *, dir_fd):
        raise OSError(errno.EPERM, "no links here")


class SlowWriter(Disk):
    """Takes one byte at a time."""

    def write(self, fd, data, offset):
        return super().write(fd, data[:1], offset)


@pytest.fixture
def folder(tmp_path):
    with Folder.open(str(tmp_path)) as folder:
        yield folder


def _fault_of(call):
    try:
        call()
    except OSError as fault:
        return fault
    return None


def _mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_written_file_has_the_bytes_is_private_and_leaves_nothing_behind(folder, tmp_path):
    folder.write_atomic("a", b"one")
    folder.write_atomic("a", b"two")

    assert folder.read_bounded("a", 10) == b"two"
    assert _mode(tmp_path / "a") == 0o600
    assert folder.names() == ["a"]


def test_writes_that_take_only_a_byte_at_a_time_still_write_everything(tmp_path):
    with Folder.open(str(tmp_path), SlowWriter()) as folder:
        folder.write_atomic("a", b"twelve bytes")

    assert (tmp_path / "a").read_bytes() == b"twelve bytes"


def test_the_old_generation_is_kept_under_the_second_name(folder):
    for data in (b"one", b"two", b"three"):
        folder.write_with_previous("a", "a.prev", data)

    assert (folder.read_bounded("a", 9), folder.read_bounded("a.prev", 9)) == (b"three", b"two")
    assert folder.names() == ["a", "a.prev"]


def test_the_first_generation_has_no_previous_one(folder):
    folder.write_with_previous("a", "a.prev", b"one")

    assert folder.names() == ["a"]


def test_without_hard_links_the_old_generation_is_copied(tmp_path):
    with Folder.open(str(tmp_path), LinklessDisk()) as folder:
        for data in (b"one", b"two"):
            folder.write_with_previous("a", "a.prev", data)

        assert (folder.read_bounded("a", 9), folder.read_bounded("a.prev", 9)) == (b"two", b"one")
        assert folder.names() == ["a", "a.prev"]


def test_both_names_of_one_file_do_not_leave_a_third(folder):
    folder.write_atomic("a", b"one")
    folder.copy_name("a", "b")
    folder.copy_name("a", "b")

    assert folder.names() == ["a", "b"]


@pytest.mark.parametrize("links", [True, False])
def test_after_a_cut_at_any_call_both_names_hold_whole_generations(tmp_path, links):
    root = tmp_path / "root"
    root.mkdir()
    disk = RecordingDisk(str(root))
    if not links:
        disk.link = LinklessDisk().link
    generations, told = [b"one", b"second", b"third one"], [0]
    with Folder.open(str(root), disk) as folder:
        for data in generations:
            folder.write_with_previous("a", "p", data)
            told.append(len(disk.log))

    for n in range(len(disk.log) + 1):
        done = sum(1 for length in told[1:] if length <= n)
        for i, (name, tree) in enumerate(states_after(disk.log, n)):
            build(tree, str(tmp_path / f"{n}-{i}"))
            with Folder.open(str(tmp_path / f"{n}-{i}")) as cut:
                now = cut.read_bounded("a", 99) if "a" in cut.names() else None
                before = cut.read_bounded("p", 99) if "p" in cut.names() else None
                cut.sweep()
                assert set(cut.names()) <= {"a", "p"}
            assert now in generations[max(0, done - 1) : done + 1] or (now is None and done == 0), (n, name)
            assert before in generations[: done + 1] or (before is None and done < 2), (n, name)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_at_any_call_leaves_whole_generations_and_no_litter(tmp_path, number):
    for at in range(50):
        with Folder.open(str(tmp_path)) as healthy:
            healthy.write_atomic("a", b"old")
            healthy.write_atomic("p", b"older")
        disk = FailingDisk(at, number)
        with Folder.open(str(tmp_path), disk) as folder:
            fault = _fault_of(lambda folder=folder: folder.write_with_previous("a", "p", b"new"))
            if fault is None:
                break
            assert fault.errno == number
            assert folder.read_bounded("a", 9) in (b"old", b"new")
            assert folder.read_bounded("p", 9) in (b"old", b"older")
            assert folder.names() == ["a", "p"]
    assert at > 4


def test_left_over_temporary_files_are_swept_and_nothing_else(folder, tmp_path):
    for name in (".taskd-00ff.tmp", ".taskd-x", "x.tmp", "a"):
        (tmp_path / name).write_bytes(b"")

    assert folder.sweep() == 1
    assert folder.names() == [".taskd-x", "a", "x.tmp"]


def test_a_file_above_the_bound_is_not_read(folder):
    folder.write_atomic("a", b"12345")

    assert folder.read_bounded("a", 5) == b"12345"
    with pytest.raises(TooBig) as caught:
        folder.read_bounded("a", 4)
    assert (caught.value.size, caught.value.errno) == (5, errno.EFBIG)


def test_links_pipes_and_folders_in_the_place_of_a_file_are_refused_and_a_pipe_does_not_block(folder, tmp_path):
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name, reason in (
        ("link", Reason.LINK),
        ("dangling", Reason.LINK),
        ("pipe", Reason.NOT_A_FILE),
        ("folder", Reason.NOT_A_FILE),
    ):
        with pytest.raises(PathRefused) as caught:
            folder.read_bounded(name, 10)
        assert caught.value.reason is reason


def test_a_write_replaces_a_link_and_leaves_what_it_pointed_to(folder, tmp_path):
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("target")

    folder.write_atomic("link", b"new")

    assert (tmp_path / "target").read_bytes() == b"secret"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0b"])
def test_a_name_is_one_component(folder, name):
    with pytest.raises(PathRefused):
        folder.write_atomic(name, b"")
    with pytest.raises(PathRefused):
        folder.read_bounded(name, 1)


def test_an_append_that_fails_is_cut_back(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"kept\n")
    fd = os.open(path, os.O_RDWR)
    try:
        for kind in ("write", "sync"):
            with pytest.raises(OSError, match="space"):
                atomic.append_durable(fd, b"lost\n", FailingDisk(0, only=kind))
            assert path.read_bytes() == b"kept\n"

        assert atomic.append_durable(fd, b"more\n") == 5
        assert path.read_bytes() == b"kept\nmore\n"
    finally:
        os.close(fd)


def test_folders_are_made_with_their_parents_and_exactly_their_mode(tmp_path):
    before = os.umask(0o077)
    try:
        atomic.make_dir(str(tmp_path / "a/b/c"), 0o755)
        atomic.make_dir(str(tmp_path / "a/b/c"), 0o700)
    finally:
        os.umask(before)

    assert [_mode(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o755] * 3


def test_a_link_in_the_place_of_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_bytes(b"")

    for name, reason in (("link", Reason.LINK), ("file", Reason.NOT_A_FOLDER)):
        with pytest.raises(PathRefused) as caught:
            folder.make_folder(name)
        assert caught.value.reason is reason


def test_paths_may_be_given_whole(tmp_path):
    atomic.write_atomic(str(tmp_path / "a"), b"one")

    assert atomic.read_bounded(str(tmp_path / "a"), 3) == b"one"


@given(st.binary(max_size=100), st.integers(0, 120), st.integers(0, 120))
def test_chunks_are_the_bytes_between_two_offsets(tmp_path_factory, data, start, end):
    path = tmp_path_factory.getbasetemp() / "chunks"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert b"".join(atomic.read_chunks(fd, start, end)) == data[start:end]
        assert b"".join(atomic.read_chunks(fd, start)) == data[start:]
    finally:
        os.close(fd)


def test_without_fsync_nothing_is_synced(tmp_path):
    with Folder.open(str(tmp_path), Disk(fsync=False)) as folder:
        folder.write_atomic("a", b"one")
        folder.disk.sync(-1)

    assert (tmp_path / "a").read_bytes() == b"one"
