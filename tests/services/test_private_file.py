"""Files of secrets: only those that nobody else could have read or written are read."""

import os

import pytest

from taskd.services.private_file import PrivateFileError, PrivateFileMissingError, read_private_file

ME = os.geteuid()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"content")
    path.chmod(0o600)
    return path


def _read(path, **changes) -> bytes:
    return read_private_file(str(path), **({"max_bytes": 100, "uid": ME} | changes))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_that_only_its_owner_can_use_is_read(secret, mode) -> None:
    secret.chmod(mode)
    assert _read(secret) == b"content"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o601, 0o644, 0o666])
def test_a_file_that_others_can_use_is_refused_and_the_remedy_named(secret, mode) -> None:
    secret.chmod(mode)
    with pytest.raises(PrivateFileError, match=f"has mode {mode:04o}.*chmod 600"):
        _read(secret)


@pytest.mark.parametrize(("mode", "fits"), [(0o440, True), (0o640, True), (0o460, False), (0o444, False)])
def test_a_credential_may_be_readable_by_its_group_and_no_more(secret, mode, fits) -> None:
    secret.chmod(mode)
    if fits:
        assert _read(secret, group_may_read=True) == b"content"
    else:
        with pytest.raises(PrivateFileError):
            _read(secret, group_may_read=True)


@pytest.mark.skipif(ME == 0, reason="a file of root's is good for everybody")
def test_a_file_of_another_user_is_refused(secret) -> None:
    with pytest.raises(PrivateFileError, match=f"belongs to uid {ME}"):
        _read(secret, uid=ME + 1)


@pytest.mark.skipif(ME != 0, reason="only root can give files away")
def test_a_file_that_belongs_to_neither_us_nor_root_is_refused(secret) -> None:
    os.chown(secret, 12345, -1)
    with pytest.raises(PrivateFileError, match="belongs to uid 12345"):
        _read(secret)
    assert _read(secret, uid=12345) == b"content"


def test_a_link_is_refused_wherever_it_leads(tmp_path, secret) -> None:
    (tmp_path / "link").symlink_to(secret)
    with pytest.raises(PrivateFileError, match="symbolic link"):
        _read(tmp_path / "link")


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(PrivateFileError, match="no regular file"):
            _read(path)


def test_a_missing_file_is_told_apart(tmp_path) -> None:
    with pytest.raises(PrivateFileMissingError):
        _read(tmp_path / "none")


def test_a_path_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(PrivateFileError, match="no legal path"):
        _read("/a\0b")


def test_the_bound_is_the_longest_file_that_is_read(secret) -> None:
    assert _read(secret, max_bytes=7) == b"content"
    with pytest.raises(PrivateFileError, match="longer than 6 bytes"):
        _read(secret, max_bytes=6)
