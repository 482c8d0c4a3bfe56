"""A cgroup of our own for a container, so that nothing of it outlives a test.

systemd-nspawn makes its groups below the group it was started in, and leaves them there on a host that does not run
systemd. So each container starts in a group of its own in every hierarchy that nspawn uses (cgroup v2, and the named
v1 hierarchy of systemd on hybrid hosts), and the group is killed and removed as a whole.

Rules: no other group is ever touched; a hierarchy that is not writable is left out, and the container then lives in
the caller's group.
"""

import subprocess
from pathlib import Path

MOVE_IN = 'for procs; do [ "$procs" = -- ] && break; echo $$ > "$procs"; shift; done; shift; exec "$@"'
"""Shell words: enter every `cgroup.procs` named before `--`, then become the command after it."""

GUARD = 'cat; for kill; do echo 1 > "$kill"; done'
"""Shell words: wait for the end of stdin, then SIGKILL every group (v2) whose `cgroup.kill` is named."""


def make_groups(name: str) -> list[Path]:
    """Make a group `name` below the caller's own in each writable hierarchy, and return their folders."""
    groups = []
    for base in _own_groups():
        group = base / name
        try:
            group.mkdir()
        except OSError:
            continue
        groups.append(group)
    return groups


def enter_command(groups: list[Path], command: list[str]) -> list[str]:
    """Return a command line that moves itself into `groups` and then becomes `command`."""
    return ["sh", "-c", MOVE_IN, "sh", *(str(group / "cgroup.procs") for group in groups), "--", *command]


def start_guard(groups: list[Path]) -> subprocess.Popen[bytes]:
    """Start the process that kills the groups when its stdin ends: when the caller closes it, or dies.

    nspawn that is killed lets the guest's PID 1 live, so a killed test run would leave its guests behind.
    """
    kills = [str(group / "cgroup.kill") for group in groups if (group / "cgroup.kill").exists()]
    return subprocess.Popen(["sh", "-c", GUARD, "sh", *kills], stdin=subprocess.PIPE, start_new_session=True)


def remove_groups(groups: list[Path]) -> list[Path]:
    """Remove the groups with all groups below, and return those that something still holds."""
    left = []
    for group in groups:
        below = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: len(path.parts))
        for folder in [*reversed(below), group]:
            try:
                folder.rmdir()
            except OSError:
                left.append(folder)
    return left


def _own_groups() -> list[Path]:
    """The folders of this process's group in cgroup v2 and in systemd's named v1 hierarchy."""
    paths = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        root, mount_point = fields.split(" ")[3:5]
        key = "" if kind == "cgroup2" else "name=systemd"
        named = kind == "cgroup" and "name=systemd" in options.split(",")
        if (kind == "cgroup2" or named) and key in paths:
            # The mount shows the hierarchy from `root` on; in a cgroup namespace both are "/".
            inside = paths[key].removeprefix(root) if root != "/" else paths[key]
            found.append(Path(mount_point) / inside.lstrip("/"))
    return found
