"""Runs in the guest in the daemon's place, under the unit's hardening, and tells as JSON what an agent can do there.

Plain Python of the guest: it imports nothing of the project. Every fact is a bool or a short string; a probe that
raises OSError is `false`, any other fault is a fault of this file.
"""

import json
import mmap
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable

PTRACE_TRACEME = 0
BUBBLEWRAP = (
    "bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true",
)  # fmt: skip


def main() -> None:
    """Print one JSON object: the name of each probe and its result."""
    print(json.dumps({name: _try(probe) for name, probe in PROBES.items()}), flush=True)


def _try(probe: Callable[[], object]) -> object:
    try:
        result = probe()
    except OSError:
        return False
    return True if result is None else result


def _writes(folder: str) -> Callable[[], None]:
    def probe() -> None:
        path = pathlib.Path(folder) / "probe"
        path.write_text("x")
        path.unlink()

    return probe


def _writes_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _sandboxes() -> bool:
    return subprocess.run(BUBBLEWRAP, check=False).returncode == 0


def _debugs() -> bool:
    script = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace({PTRACE_TRACEME}, 0, 0, 0) != 0)"
    return subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def _opens(family: socket.AddressFamily, kind: socket.SocketKind) -> Callable[[], None]:
    return lambda: socket.socket(family, kind).close()


def _drives_supervisor() -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("/run/taskd/taskd.sock")


def _makes_setuid() -> bool:
    path = pathlib.Path("/var/lib/taskd/probe-suid")
    path.touch()
    try:
        path.chmod(0o4755)
        return bool(path.stat().st_mode & 0o4000)
    finally:
        path.unlink()


def _kills_by_cgroup() -> bool:
    own = next(line[3:] for line in pathlib.Path("/proc/self/cgroup").read_text().split("\n") if line.startswith("0::"))
    group = pathlib.Path("/sys/fs/cgroup") / own.lstrip("/") / "probe"
    group.mkdir()
    enter = 'echo $$ > "$0" && echo in && setsid sleep 1000'
    command = ["sh", "-c", enter, str(group / "cgroup.procs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        entered = child.stdout.read(3) == b"in\n"
        (group / "cgroup.kill").write_text("1")
        return entered and child.wait(10) == -9


def _capabilities() -> str:
    lines = pathlib.Path("/proc/self/status").read_text().split("\n")
    return " ".join(line.split()[1] for line in lines if line.startswith(("CapEff", "CapBnd", "NoNewPrivs")))


def _credential(name: str) -> Callable[[], str]:
    return (pathlib.Path(os.environ["CREDENTIALS_DIRECTORY"]) / name).read_text


PROBES: dict[str, Callable[[], object]] = {
    "writes state": _writes("/var/lib/taskd"),
    "writes home": _writes(os.environ["HOME"]),
    "writes workspace": _writes("/srv/taskd"),
    "writes tmp": _writes("/tmp"),
    "writes etc": _writes("/etc"),
    "writes usr": _writes("/usr/local"),
    "sees login users": lambda: pathlib.Path("/home/someone").exists(),
    "sees tmp of others": lambda: pathlib.Path("/tmp/of-others").exists(),
    "sees init": lambda: pathlib.Path("/proc/1").exists(),
    "sees memory size": lambda: pathlib.Path("/proc/meminfo").exists(),
    "writes code and runs it": _writes_code,
    "sandboxes by bubblewrap": _sandboxes,
    "debugs": _debugs,
    "opens tcp": _opens(socket.AF_INET, socket.SOCK_STREAM),
    "opens netlink": _opens(socket.AF_NETLINK, socket.SOCK_RAW),
    "opens bluetooth": _opens(socket.AF_BLUETOOTH, socket.SOCK_RAW),
    "drives its supervisor": _drives_supervisor,
    "makes setuid files": _makes_setuid,
    "kills by cgroup": _kills_by_cgroup,
    "capabilities": _capabilities,
    "token": _credential("taskd.token"),
}

if __name__ == "__main__":
    main()
