"""Builds the guest that the tier boots: a Debian tree with systemd, and in it the project from this checkout.

Two layers. The Debian layer (mmdebstrap, half a minute) and the wheels are cached in `.nspawn/` of the checkout under
a key of all that goes into them. The project layer is made for each session as README.md of `systemd/` tells users to
do it: a wheel built from the checkout, installed into a virtual environment of the tree's own Python, the units copied
and enabled. Nothing of this needs the network but the first build of a key.

Rules: the cache is never written to once it has its name (it is built beside and renamed); a tree for a session is a
copy, removed by its owner.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CACHE = REPO / ".nspawn"
SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of `SUITE`; wheels are fetched for this one, whatever runs the tests."""
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "busybox-static", "openrc", "bubblewrap", "procps")
"""openrc and busybox for the plain-init recipes; bubblewrap stands for the sandboxes that agents bring."""
MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
MASKED = ("systemd-resolved.service", "systemd-timesyncd.service", "console-getty.service", "getty.target")
"""Services of Debian that a test container has no use for."""
DROPPED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists", "var/cache/apt")
STEP_SECONDS = 420
"""The longest step is mmdebstrap; 26 s with a near mirror, much more with a far one."""
GUEST_SETTINGS = """
# The tests speak as root, from outside the guest.
allowed_uids = [0]
default_agent = "shell"
"""
UNITS = ("taskd.service", "taskd.socket", "taskd-vsock.socket")


class TreeError(Exception):
    """A step of the build failed; the text holds its output."""


def build_tree(into: Path, project: Path = REPO) -> Path:
    """Make the tree of one session at `into` (which must not exist) and return it.

    Raises:
        TreeError: a step failed, with the end of what it said.
    """
    wheels = cached_wheels(project)
    _run(["cp", "-a", "--reflink=auto", str(cached_debian()), str(into)])
    install_project(into, wheels, build_wheel(project, wheels, into.parent / "wheel"))
    install_units(into, project / "systemd")
    return into


def cached_debian() -> Path:
    """Return the Debian layer from the cache, built first if this key is new."""
    return _cached("debian", (SUITE, *PACKAGES, *MASKED, *DROPPED, platform.machine()), _make_debian)


def cached_wheels(project: Path) -> Path:
    """Return the folder of all wheels an installation needs, fetched first if the needs are new.

    Those are the project's dependencies, what builds the project itself, and pip.
    """
    described = tomllib.loads((project / "pyproject.toml").read_text())
    needs = ["pip", *described["build-system"]["requires"], *described["project"]["dependencies"]]
    return _cached("wheels", (PYTHON, platform.machine(), *needs), lambda into: _fetch(into, needs))


def build_wheel(project: Path, wheels: Path, into: Path) -> Path:
    """Build the project's wheel from the checkout, as a release would be built."""
    offline = ["--no-index", "--find-links", str(wheels)]
    _run([*_pip(), "wheel", "--quiet", "--no-deps", *offline, "--wheel-dir", str(into), str(project)])
    return next(into.glob("*.whl"))


def install_project(tree: Path, wheels: Path, wheel: Path) -> None:
    """Install the wheel into `/opt/taskd`, a virtual environment of the tree's own Python."""
    inside = tree / "wheels"
    shutil.copytree(wheels, inside)
    shutil.copy(wheel, inside)
    pip = next(inside.glob("pip-*.whl"))
    _run(["chroot", str(tree), "/usr/bin/python3", "-m", "venv", "--without-pip", "/opt/taskd"])
    offline = ["install", "--quiet", "--no-index", "--find-links", "/wheels", f"/wheels/{wheel.name}"]
    _run(["chroot", str(tree), "/opt/taskd/bin/python", f"/wheels/{pip.name}/pip", *offline])
    (tree / "usr/local/bin/taskd").symlink_to("/opt/taskd/bin/taskd")
    shutil.rmtree(inside)


def install_units(tree: Path, source: Path) -> None:
    """Copy units, users and folders to their places and enable the service; the plain-init recipes lie ready."""
    for unit in UNITS:
        shutil.copy(source / unit, tree / "etc/systemd/system" / unit)
    for name in ("sysusers.d", "tmpfiles.d"):
        shutil.copy(source / name / "taskd.conf", tree / "usr/lib" / name / "taskd.conf")
    # Not to /etc/init.d yet: systemctl would take them for SysV services and enable those too.
    for name in ("init", "openrc"):
        shutil.copytree(source / name, tree / "usr/local/share/taskd" / name)
    (tree / "etc/taskd").mkdir()
    (tree / "etc/taskd/taskd.toml").write_text(GUEST_SETTINGS)
    _run(["systemd-sysusers", f"--root={tree}"])
    _run(["systemctl", f"--root={tree}", "--quiet", "enable", "taskd.service"])


def _make_debian(into: Path) -> None:
    include = "--include=" + ",".join(PACKAGES)
    _run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory", include, SUITE, str(into)])
    for folder in DROPPED:
        shutil.rmtree(into / folder, ignore_errors=True)
    for unit in MASKED:
        (into / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (into / "etc/hostname").write_text("guest\n")


def _fetch(into: Path, needs: list[str]) -> None:
    platforms = [f"--platform={tag}_{platform.machine()}" for tag in MANYLINUX]
    target = ["--python-version", PYTHON, "--implementation", "cp", "--abi", f"cp{PYTHON.replace('.', '')}", *platforms]
    _run([*_pip(), "download", "--quiet", "--only-binary=:all:", *target, "--dest", str(into), *needs])


def _cached(kind: str, parts: Sequence[str], make: Callable[[Path], None]) -> Path:
    """Return the cached folder of this key; the first who asks makes it, others wait for the lock."""
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    ready, building = CACHE / f"{kind}-{key}", CACHE / f"{kind}-{key}.part"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(building, ignore_errors=True)
            make(building)
            building.rename(ready)
    return ready


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)
    if done.returncode != 0:
        raise TreeError(f"{' '.join(command)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
