"""Facts of this machine and of processes on it, from `/proc`. Linux only, like the daemon."""

import os
import platform
import sys
import time
from pathlib import Path

from host_client.bench.report import Machine


def machine(load_before: float) -> Machine:
    """Name this machine."""
    return Machine(
        cpu=_field(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=_kib(Path("/proc/meminfo"), "MemTotal") // 1024,
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load=(load_before, load()),
    )


def load() -> float:
    """Give the load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def rss_mib(pid: int) -> float:
    """Give the resident memory of a process."""
    return _kib(Path(f"/proc/{pid}/status"), "VmRSS") / 1024


def cpu_seconds(pid: int) -> float:
    """Give the CPU time of a process with all its threads, those that have ended included.

    Linux has a clock for every process; its number is what clock_getcpuclockid(3) makes of the pid.
    """
    return time.clock_gettime((~pid << 3) | 2)


def interpreter(program: str) -> list[str]:
    """Give the command of one of the harness's own programs that needs nothing but the standard library."""
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name(program))]


def _kib(path: Path, key: str) -> int:
    return int((_field(path, key) or "0").split()[0])


def _field(path: Path, key: str) -> str | None:
    lines = (line.partition(":") for line in path.read_text().split("\n"))
    return next((value.strip() for name, _, value in lines if name.strip() == key), None)
