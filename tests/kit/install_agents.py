"""Installs the real agents that the `real_agent` tier drives: `python -m tests.kit.install_agents`, or `make agents`.

Reads `tests/agents.toml`, the one file with versions, and fills `.agents/<name>/` at the root of the repository with
npm. An agent is made in a folder of its own and moved to its place when it is whole, so a half made one is never found;
a stamp in it holds the pin it was made from, so a second run does nothing and a changed pin makes it anew.

Rules: standard library only (it runs before any virtual environment exists); no install script of a package is run;
what npm brought is compared with the pinned integrity before anybody runs it; every call of npm is bounded.
It must not know how an agent is started: that is `tests.kit.pi_home`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK_FILE = REPOSITORY / "tests" / "agents.toml"
AGENTS_DIR = REPOSITORY / ".agents"
STAMP = "installed.json"

NPM_LIMIT_S = 600
"""The longest one npm call may take: the largest package is 60 MB packed and comes over any line in this time."""

Npm = Callable[[Sequence[str], Path], None]
"""Runs npm with these arguments in this folder; raises `InstallError`."""


class InstallError(Exception):
    """An agent could not be installed; the text tells the reader what to do."""


@dataclass(frozen=True)
class Pin:
    """One package at one version, and where in its folder the file is that is run (none: it is only imported)."""

    package: str
    version: str
    fetch: str
    integrity: str
    entry: str = ""
    beside: Pin | None = None


def read_lock(path: Path = LOCK_FILE) -> dict[str, Pin]:
    """The pins by agent name, in the order of the file."""
    return {name: _pin(table) for name, table in tomllib.loads(path.read_text("utf-8")).items()}


def _pin(table: dict[str, object]) -> Pin:
    beside = table.get("beside")
    texts = {key: str(value) for key, value in table.items() if key != "beside"}
    return Pin(**texts, beside=_pin(beside) if isinstance(beside, dict) else None)


def is_installed(pin: Pin, folder: Path) -> bool:
    """Whether this folder was made from exactly this pin and still holds the file that is run."""
    try:
        made_from = json.loads((folder / STAMP).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(made_from == asdict(pin)) and (folder / pin.entry).is_file()


def install(pin: Pin, folder: Path, npm: Npm) -> bool:
    """Make `folder` hold this pin; False when it did already.

    :raises InstallError: npm failed, or what it brought is not what is pinned
    """
    if is_installed(pin, folder):
        return False
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _fill(pin, partial, npm)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _fill(pin: Pin, folder: Path, npm: Npm) -> None:
    for part in [pin, pin.beside] if pin.beside else [pin]:
        (_unpack if part.fetch == "tarball" else _add)(part, folder, npm)
    if not (folder / pin.entry).is_file():
        raise InstallError(f"{pin.package}@{pin.version} has no file {pin.entry}: correct `entry` in {LOCK_FILE.name}")
    (folder / STAMP).write_text(json.dumps(asdict(pin), indent=1) + "\n", "utf-8")


def _unpack(pin: Pin, folder: Path, npm: Npm) -> None:
    npm(["pack", "--ignore-scripts", "--silent", f"{pin.package}@{pin.version}"], folder)
    tarballs = list(folder.glob("*.tgz"))
    if len(tarballs) != 1:
        raise InstallError(f"npm pack {pin.package}@{pin.version} left {len(tarballs)} files, not one")
    digest = hashlib.sha512(tarballs[0].read_bytes()).digest()
    _check(pin, f"sha512-{base64.b64encode(digest).decode()}")
    with tarfile.open(tarballs[0]) as tar:
        # The filter came with 3.11.4; what is unpacked has the pinned digest, so an older Python is no danger.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        tar.extractall(folder)
    tarballs[0].unlink()


def _add(pin: Pin, folder: Path, npm: Npm) -> None:
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    # `--prefix .` keeps npm from walking up to a package.json or node_modules of a parent folder.
    npm(
        ["install", "--prefix", ".", "--ignore-scripts", "--save-exact", *quiet, f"{pin.package}@{pin.version}"], folder
    )
    locked = json.loads((folder / "package-lock.json").read_bytes())["packages"][f"node_modules/{pin.package}"]
    _check(pin, locked.get("integrity", ""))


def _check(pin: Pin, integrity: str) -> None:
    if integrity != pin.integrity:
        raise InstallError(
            f"{pin.package}@{pin.version} is not the package that is pinned:\n"
            f"  pinned  {pin.integrity}\n  fetched {integrity or 'nothing'}"
        )


def run_npm(arguments: Sequence[str], folder: Path) -> None:
    """The real npm, found on PATH.

    :raises InstallError: it is not there, it failed, or it took longer than `NPM_LIMIT_S`
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError(
            "npm is not on PATH, and the real agents are npm packages.\n"
            "Install Node.js 20 or newer with npm, then run `make agents` again. Only the real_agent tests need it."
        )
    try:
        done = subprocess.run([npm, *arguments], cwd=folder, capture_output=True, timeout=NPM_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"npm {arguments[0]} took longer than {NPM_LIMIT_S} s") from error
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-2000:]
        raise InstallError(f"npm {' '.join(arguments)} ended with {done.returncode}:\n{tail}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="install_agents", description="Install the pinned agents into .agents/.")
    parser.add_argument("names", nargs="*", help="agents to install (all of tests/agents.toml when none is named)")
    parser.add_argument("--into", type=Path, default=AGENTS_DIR, help="the folder to fill")
    options = parser.parse_args(argv)
    lock = read_lock()
    if unknown := sorted(set(options.names) - lock.keys()):
        parser.error(f"not in {LOCK_FILE.name}: {', '.join(unknown)} (it has {', '.join(lock)})")
    try:
        for name in options.names or lock:
            pin = lock[name]
            made = install(pin, options.into / name, run_npm)
            print(f"{name}: {pin.package} {pin.version} {'installed' if made else 'already there'}", flush=True)
    except InstallError as error:
        print(f"install_agents: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
