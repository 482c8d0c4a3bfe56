"""Opens beneath a root: one table for both ways, and a link that comes and goes."""

import os
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.disk import beneath
from taskd.disk.beneath import PathRefused, Reason, check_relative, open_beneath, open_dir_beneath

WAYS = ["openat2", "walk"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    if request.param == "openat2" and not beneath.have_openat2():
        pytest.skip("the kernel has no openat2, or a sandbox forbids it")
    monkeypatch.setattr(beneath, "have_openat2", lambda: request.param == "openat2")
    return request.param


@pytest.fixture
def root(tmp_path):
    """A root with folders, and with links that lead inside and outside."""
    inside, outside = tmp_path / "root", tmp_path / "outside"
    (inside / "a/b/c").mkdir(parents=True)
    (inside / "back\\slash").mkdir()
    (inside / "..name").mkdir()
    (inside / "ünï").mkdir()
    (inside / "closed").mkdir(mode=0)
    (inside / "a/file").write_bytes(b"")
    (outside / "b").mkdir(parents=True)
    (inside / "in").symlink_to("a")
    (inside / "out").symlink_to(outside)
    (inside / "a/up").symlink_to("..")
    (inside / "loop").symlink_to("loop")
    (inside / "self").symlink_to("/proc/self")
    os.mkfifo(inside / "pipe")
    fd = os.open(inside, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("relative", ["a", "a/b", "a/b/c", "back\\slash", "..name", "ünï"])
def test_folders_below_the_root_are_opened(root, way, relative):
    fd = open_dir_beneath(root, relative)
    try:
        assert os.fstat(fd).st_ino == os.stat(relative, dir_fd=root).st_ino
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("relative", "reason"),
    [
        ("/etc", Reason.ABSOLUTE),
        ("", Reason.EMPTY),
        ("a//b", Reason.EMPTY),
        ("a/", Reason.EMPTY),
        (".", Reason.DOT),
        ("a/./b", Reason.DOT),
        ("..", Reason.PARENT),
        ("a/../a", Reason.PARENT),
        ("a/../../outside", Reason.PARENT),
        ("a\0b", Reason.NUL),
        ("a/\ud800", Reason.ENCODING),
        ("x" * 4096, Reason.TOO_LONG),
        ("x/" * 2047 + "xx", Reason.TOO_LONG),
        ("x" * 300, Reason.TOO_LONG),
        ("in", Reason.LINK),
        ("in/b", Reason.LINK),
        ("out", Reason.LINK),
        ("out/b", Reason.LINK),
        ("a/up", Reason.LINK),
        ("a/up/a", Reason.LINK),
        ("loop", Reason.LINK),
        ("loop/a", Reason.LINK),
        ("self/cwd", Reason.LINK),
        ("a/file", Reason.NOT_A_FOLDER),
        ("a/file/b", Reason.NOT_A_FOLDER),
        ("pipe", Reason.NOT_A_FOLDER),
        ("a/none", Reason.MISSING),
        ("none/b", Reason.MISSING),
    ],
)
def test_what_is_no_folder_below_the_root_is_refused_for_its_reason(root, way, relative, reason):
    with pytest.raises(PathRefused) as caught:
        open_dir_beneath(root, relative)

    assert caught.value.reason is reason
    assert isinstance(caught.value, OSError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_a_folder_that_may_not_be_read_is_denied(root, way):
    with pytest.raises(PathRefused) as caught:
        open_dir_beneath(root, "closed")

    assert caught.value.reason is Reason.DENIED


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH])
def test_a_link_is_refused_where_a_file_was_meant(root, way, flags):
    with pytest.raises(PathRefused) as caught:
        open_beneath(root, "in", flags)

    assert caught.value.reason is Reason.LINK


def test_no_descriptor_is_leaked_by_a_refusal_or_an_open(root, way):
    before = sorted(os.listdir("/proc/self/fd"))
    for relative in ("a/b/c", "a/b/none", "in/b", "a/file/x"):
        with suppress(PathRefused):
            os.close(open_dir_beneath(root, relative))

    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_swapped_for_a_link_all_the_time_never_leads_outside(tmp_path, way):
    inside, outside = tmp_path / "root", tmp_path / "outside"
    (inside / "a/b").mkdir(parents=True)
    (outside / "b").mkdir(parents=True)
    good = os.stat(inside / "a/b").st_ino
    (inside / "link").symlink_to(outside)
    done = threading.Event()

    def swap():
        for _ in range(200_000):
            os.rename(inside / "a", inside / "folder")
            os.rename(inside / "link", inside / "a")
            os.rename(inside / "a", inside / "link")
            os.rename(inside / "folder", inside / "a")
            if done.is_set():
                return

    swapper = threading.Thread(target=swap)
    swapper.start()
    root_fd = os.open(inside, os.O_RDONLY)
    found = set()
    try:
        for _ in range(3000):
            try:
                fd = open_dir_beneath(root_fd, "a/b")
            except OSError:
                continue
            found.add(os.fstat(fd).st_ino)
            os.close(fd)
    finally:
        os.close(root_fd)
        done.set()
        swapper.join(timeout=30)

    assert found <= {good}


@given(st.text(max_size=40))
def test_any_text_is_components_or_a_refusal(text):
    try:
        parts = check_relative(text)
    except PathRefused:
        return

    assert "/".join(parts) == text
    assert not {"", ".", ".."} & set(parts)
