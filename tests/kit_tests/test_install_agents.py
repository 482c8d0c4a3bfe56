"""The installer of the real agents, with an npm of this file in place of the real one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.kit.install_agents import STAMP, InstallError, Pin, install, is_installed, main, read_lock, run_npm
from tests.kit.pi_home import NODE, PI_NAMES, Missing, PiCommand, find_pi

ENTRY = "package/cli.js"


def tarball() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo(ENTRY)
        member.size = 2
        tar.addfile(member, io.BytesIO(b"//"))
    return packed.getvalue()


class FakeNpm:
    """Does what `npm pack` and `npm install` leave behind, and keeps what it was asked."""

    def __init__(self) -> None:
        self.packed = tarball()
        self.calls: list[str] = []

    def __call__(self, arguments: Sequence[str], folder: Path) -> None:
        self.calls.append(f"{arguments[0]} {arguments[-1]}")
        assert "--ignore-scripts" in arguments
        if arguments[0] == "pack":
            (folder / "agent-1.0.0.tgz").write_bytes(self.packed)
        else:
            package = arguments[-1].rpartition("@")[0]
            locked = {"packages": {f"node_modules/{package}": {"integrity": "sha512-beside"}}}
            (folder / "package-lock.json").write_text(json.dumps(locked), "utf-8")

    @property
    def integrity(self) -> str:
        return f"sha512-{base64.b64encode(hashlib.sha512(self.packed).digest()).decode()}"


@pytest.fixture
def npm() -> FakeNpm:
    return FakeNpm()


@pytest.fixture
def pin(npm: FakeNpm) -> Pin:
    return Pin("agent", "1.0.0", "tarball", npm.integrity, ENTRY, Pin("other", "2.0.0", "install", "sha512-beside"))


def test_a_tarball_and_what_belongs_beside_it_are_installed_once(npm: FakeNpm, pin: Pin, tmp_path: Path) -> None:
    folder = tmp_path / "agents" / "a"
    assert install(pin, folder, npm) is True
    assert install(pin, folder, npm) is False
    assert npm.calls == ["pack agent@1.0.0", "install other@2.0.0"]
    assert (folder / ENTRY).read_text("utf-8") == "//"


def test_a_changed_pin_is_installed_anew(npm: FakeNpm, pin: Pin, tmp_path: Path) -> None:
    install(pin, tmp_path / "a", npm)
    (tmp_path / "a" / "left-over").touch()
    assert install(replace(pin, version="1.0.1"), tmp_path / "a", npm) is True
    assert not (tmp_path / "a" / "left-over").exists()


def test_a_package_with_another_digest_is_refused_and_leaves_nothing(npm: FakeNpm, pin: Pin, tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="not the package that is pinned"):
        install(replace(pin, integrity="sha512-other"), tmp_path / "a", npm)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_update_leaves_the_installed_agent_in_place(npm: FakeNpm, pin: Pin, tmp_path: Path) -> None:
    install(pin, tmp_path / "a", npm)
    with pytest.raises(InstallError):
        install(replace(pin, integrity="sha512-other"), tmp_path / "a", npm)
    assert is_installed(pin, tmp_path / "a")


def test_a_package_without_its_entry_is_an_error_that_names_the_file(npm: FakeNpm, pin: Pin, tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"no file gone\.js"):
        install(replace(pin, entry="gone.js"), tmp_path / "a", npm)


def test_an_installation_that_was_cut_short_is_made_anew(npm: FakeNpm, pin: Pin, tmp_path: Path) -> None:
    (tmp_path / "a.partial").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / STAMP).write_text("{", "utf-8")
    assert install(pin, tmp_path / "a", npm) is True


def test_without_npm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallError, match=r"npm is not on PATH.*\n.*Node\.js"):
        run_npm(["pack"], tmp_path)


def test_the_program_ends_with_one_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--into", str(tmp_path)]) == 1
    assert "npm is not on PATH" in capsys.readouterr().err


def test_the_lock_file_pins_each_agent_and_all_that_comes_with_it() -> None:
    lock = read_lock()
    assert list(lock) == [NODE, *PI_NAMES]
    parts = [part for pin in lock.values() for part in (pin, pin.beside) if part]
    assert all(part.integrity.startswith("sha512-") and part.fetch in ("install", "tarball") for part in parts)


def test_an_agent_that_is_not_installed_is_missing_with_the_reason_to_show(tmp_path: Path) -> None:
    found = find_pi("pi-1.5", tmp_path)
    assert isinstance(found, Missing)
    assert found.reason.endswith("is not installed: run `make agents`")


def test_an_installed_agent_has_the_words_that_start_it(tmp_path: Path) -> None:
    for name in (NODE, "pi-1.5"):
        install_stub(name, tmp_path)
    found = find_pi("pi-1.5", tmp_path)
    assert isinstance(found, PiCommand)
    assert found.rpc(session=Path("/s.json"), extensions=[Path("/e.js")])[2:] == [
        "--mode", "rpc", "--session", "/s.json", "-e", "/e.js",
    ]  # fmt: skip
    assert found.rpc()[-1] == "--no-session"


def install_stub(name: str, agents_dir: Path) -> None:
    """The pinned agent with an empty file where its program is."""
    pin = read_lock()[name]
    entry = agents_dir / name / pin.entry
    entry.parent.mkdir(parents=True)
    entry.touch()
    (agents_dir / name / STAMP).write_text(json.dumps(asdict(pin)), "utf-8")
