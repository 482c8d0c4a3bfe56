"""Builds the guest that the tier boots: Debian's cloud kernel, and a root folder of Python, busybox and our wheels.

One run of mmdebstrap (a quarter of a minute) unpacks the packages of Debian without installing them; the files that the
guest needs are picked from its archive and packed for the kernel to unpack again, so there is no disk and no loop
mount. Both are cached in `.vm/` of the checkout under a key of all that goes into them. The project itself comes from
the checkout at each boot, as a second archive.

Rules: the cache is never written to once it has its name (it is built beside and renamed). Nothing here needs root, but
without it mmdebstrap needs user namespaces and `uidmap`.
"""

import fcntl
import hashlib
import importlib.util
import marshal
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

from tests.vm.cpio import Archive

REPO = Path(__file__).resolve().parents[2]
CACHE = REPO / ".vm"
SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of `SUITE`; wheels are fetched for this one, whatever runs the tests."""
PACKAGES = ("linux-image-cloud-amd64", "busybox-static", f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib")
MODULES = ("virtio_pci", "vmw_vsock_virtio_transport", "vsock_loopback", "button", "evdev")
"""What the guest's kernel loads, with all that these need: the vsock device, vsock inside, and the power button."""
LIBRARIES = "c|m|dl|rt|util|pthread|z|bz2|lzma|expat|ffi|ssl|crypto|gcc_s|uuid|nss_files"
DROPPED = "test|idlelib|distutils|pydoc_data|unittest|wsgiref|xmlrpc|dbm|curses|sqlite3"
"""Of Python's library."""
KEPT = re.compile(
    rf"bin/busybox|usr/bin/python{PYTHON}|lib64/.*"
    rf"|(usr/)?lib/x86_64-linux-gnu/(ld-linux-x86-64|lib({LIBRARIES}))\.so[^/]*"
    rf"|usr/lib/python{PYTHON}/(?!({DROPPED})/|lib-dynload/(_test|_codecs|_sqlite|_dbm|_curses|readline)).*"
)
"""Files of Debian that the guest needs; the rest is left out, because the kernel unpacks everything at each boot."""
MODULE = re.compile(r"lib/modules/.*/([^/]+)\.ko")
KERNEL = re.compile(r"boot/vmlinuz-.*")
LINKS = {"sbin/init": "/bin/busybox", "bin/sh": "/bin/busybox", "usr/bin/python3": f"python{PYTHON}"}
LIBRARY = f"usr/local/lib/python{PYTHON}/dist-packages"
"""Where Debian's Python looks for what Debian did not bring."""
SCRIPTS = {
    "systemd/init/taskd": "etc/init.d/taskd",
    "tests/vm/guest/boot": "etc/boot",
    "tests/vm/guest/power_button": "etc/acpi/PWRF/00000080",
    "tests/vm/guest/loopback.py": "usr/local/bin/loopback",
}
"""Files of the checkout and their places in the guest."""
FILES = {
    "usr/local/bin/taskd": "#!/usr/bin/python3\nimport sys\n\nfrom taskd.__main__ import main\n\nsys.exit(main())\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ntaskd:x:900:900::/var/lib/taskd/.home:/bin/sh\n",
    "etc/group": "root:x:0:\ntaskd:x:900:\n",
}
INITTABS = ("tests/vm/guest/inittab", "systemd/init/inittab.example")
STEP_SECONDS = 420
"""For mmdebstrap, with a far mirror."""


class ImageError(Exception):
    """A step of the build failed; the text holds its output."""


class Image(NamedTuple):
    """A kernel, and the root folder that it unpacks."""

    kernel: Path
    root: Path


def cached_image() -> Image:
    """Give the image of the cache, built first if its key is new.

    Raises:
        ImageError: a step failed, with the end of what it said.
    """
    folder = CACHE / _key()
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _make(folder)
    return Image(folder / "vmlinuz", folder / "root.cpio")


def is_cached() -> bool:
    """Say whether the image is there, so that nothing is needed to build one."""
    return (CACHE / _key()).exists()


def project_archive() -> bytes:
    """Pack the project from this checkout, and how the guest starts it, as files to put over the image."""
    archive = Archive()
    for package in ("taskd", "host_client"):
        for path in sorted((REPO / package).rglob("*.py")):
            _put_python(archive, f"{LIBRARY}/{path.relative_to(REPO)}", path.read_bytes())
    for source, place in SCRIPTS.items():
        archive.file(place, (REPO / source).read_bytes(), 0o755)
    for place, text in FILES.items():
        archive.file(place, text.encode(), 0o755 if "/bin/" in place else 0o644)
    archive.file("etc/inittab", b"".join((REPO / source).read_bytes() for source in INITTABS))
    archive.link("var/log/taskd.log", "/dev/console")
    archive.folder("tmp", 0o1777)
    return archive.packed()


def needs() -> list[str]:
    """Give the project's dependencies, as `pyproject.toml` has them."""
    described = tomllib.loads((REPO / "pyproject.toml").read_text())
    return list(described["project"]["dependencies"])


def _key() -> str:
    builders = b"".join((Path(__file__).parent / name).read_bytes() for name in ("guest_image.py", "cpio.py"))
    parts = [hashlib.sha256(builders).hexdigest(), sys.implementation.cache_tag or "", *needs()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _make(folder: Path) -> None:
    # RACE: whoever held the lock before us may have made it.
    if not folder.exists():
        building = folder.with_suffix(".part")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        _build(building)
        building.rename(folder)


def _build(into: Path) -> None:
    archive = Archive()
    with tempfile.TemporaryDirectory() as scratch:
        debian = Path(scratch) / "debian.tar"
        include = f"--include={','.join(PACKAGES)}"
        _run(["mmdebstrap", "--quiet", "--variant=extract", "--format=tar", include, SUITE, str(debian)])
        with tarfile.open(debian) as tar:
            _take_debian(archive, tar, into / "vmlinuz")
        for wheel in _wheels(Path(scratch) / "wheels"):
            _take_wheel(archive, wheel)
    for path, target in LINKS.items():
        archive.link(path, target)
    (into / "root.cpio").write_bytes(archive.packed())


def _take_debian(archive: Archive, tar: tarfile.TarFile, kernel: Path) -> None:
    members = {member.name.removeprefix("./"): member for member in tar}
    for path, member in members.items():
        if KERNEL.fullmatch(path):
            kernel.write_bytes(_contents(tar, member))
        elif KEPT.fullmatch(path) and member.issym():
            archive.link(path, member.linkname)
        elif KEPT.fullmatch(path) and member.isfile():
            _put_python(archive, path, _contents(tar, member), member.mode)
    modules = {found[1].replace("-", "_"): path for path in members if (found := MODULE.fullmatch(path))}
    order: dict[str, bytes] = {}
    for name in MODULES:
        _take_module(name, {name: members[path] for name, path in modules.items()}, tar, order)
    for name, data in order.items():
        archive.file(f"lib/modules/{name}.ko", data)
    archive.file("lib/modules/order", " ".join(order).encode())


def _take_module(name: str, modules: dict[str, tarfile.TarInfo], tar: tarfile.TarFile, taken: dict[str, bytes]) -> None:
    """Add a module behind those that it needs, which it names itself: Debian makes their list only when installing."""
    if name in taken or name not in modules:
        return
    data = _contents(tar, modules[name])
    needed = re.search(rb"\0depends=([^\0]*)", data)
    for other in needed[1].decode().split(",") if needed and needed[1] else ():
        _take_module(other.replace("-", "_"), modules, tar, taken)
    taken[name] = data


def _wheels(folder: Path) -> list[Path]:
    platforms = [f"--platform={tag}_x86_64" for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
    target = ["--python-version", PYTHON, "--implementation", "cp", "--abi", f"cp{PYTHON.replace('.', '')}", *platforms]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--only-binary=:all:"]
    _run([*pip, *target, "--dest", str(folder), *needs()])
    return sorted(folder.glob("*.whl"))


def _take_wheel(archive: Archive, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as contents:
        for name in sorted(contents.namelist()):
            if not name.endswith("/"):
                _put_python(archive, f"{LIBRARY}/{name}", contents.read(name))


def _put_python(archive: Archive, path: str, data: bytes, mode: int = 0o644) -> None:
    """Add a file, and what Python would make of it: compiling takes an emulated machine much longer."""
    archive.file(path, data, mode)
    tag = f"cpython-{PYTHON.replace('.', '')}"
    if path.endswith(".py") and sys.implementation.cache_tag == tag:
        folder, _, name = path.rpartition("/")
        archive.file(f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc", _compiled(path, data))


def _compiled(path: str, source: bytes) -> bytes:
    """Compile as py_compile does with `UNCHECKED_HASH`: the guest believes it without looking at the source."""
    with warnings.catch_warnings(action="ignore"):
        code = compile(source, f"/{path}", "exec", dont_inherit=True)
    unchecked = (1).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source) + marshal.dumps(code)


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise ImageError(f"{member.name} is no file")
    return file.read()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)
    if done.returncode != 0:
        raise ImageError(f"{' '.join(command)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
