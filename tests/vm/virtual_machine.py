"""One virtual machine: QEMU, emulating the processor, and the program that is the host's end of its vsock.

Neither needs root, KVM or a network. The guest's first process is busybox init; what it and the daemon say is in the
file of its console, and that is also how readiness is known. QEMU's own control socket is its stdin and stdout.

Rules: every wait has a limit, paced by the process that is waited for; both programs die with the tests that started
them, however those end; `close` leaves no process and no file.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.vm.guest_image import REPO, Image, project_archive

BOOT_SECONDS = 120.0
"""Boot to a listening daemon takes 8 s on an idle machine; a busy one needs several times that."""
WAIT_SECONDS = 120.0
"""For anything that the guest does: everything is some ten times slower there."""
PACE_SECONDS = 0.05
GUEST_CID = 42
HOST_CID = 2
SIBLING_CID = 43
"""What another guest of the same host would come from."""
PORT = 5000
MEMORY = "384M"
DIE_WITH_TESTS = ("setpriv", "--pdeathsig", "KILL")
KERNEL_WORDS = (
    "console=ttyS0", "quiet", "panic=-1", "mitigations=off", "random.trust_cpu=on", "rdinit=/sbin/init",
    # A host that is busy while the kernel counts ticks of the timer looks like a broken board to it.
    "no_timer_check",
)  # fmt: skip


class MachineError(Exception):
    """The machine did not do what was asked in time; the text holds the end of its console."""


class Machine:
    """A running machine. Make it with `booted`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._backend: subprocess.Popen[bytes] | None = None
        self._qemu: subprocess.Popen[bytes]
        self.boot_seconds = 0.0
        """From QEMU's start to the daemon's word that it is ready."""

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        return self._qemu.poll() is None

    @property
    def address(self) -> str:
        """The daemon's address for programs on the host."""
        return self.address_of(PORT)

    def address_of(self, port: int, door: str = "host") -> str:
        """Give the address of a port of the guest; by the door `sibling` one comes from another guest's CID."""
        return f"fc:{self._folder}/{door}.sock:{port}"

    def boot(self, image: Image, *settings: str) -> None:
        """Start the machine and return when the daemon in it listens.

        Args:
            settings: words for the kernel's command line.

        Raises:
            MachineError: it does not listen within `BOOT_SECONDS`.
        """
        began = time.monotonic()
        initrd = self._folder / "initrd"
        initrd.write_bytes(image.root.read_bytes() + project_archive())
        self._start_backend()
        command = self._command(image.kernel, initrd, " ".join((*KERNEL_WORDS, *settings)))
        with (self._folder / "qemu.log").open("wb") as log:
            self._qemu = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        self.await_console('"event":"ready"', BOOT_SECONDS)
        self.boot_seconds = time.monotonic() - began

    def console(self) -> str:
        """Give what the guest has said so far."""
        return "".join(
            path.read_text(errors="replace") for path in sorted(self._folder.glob("*.log"), reverse=True)
        ).replace("\r", "")

    def await_console(self, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the guest has said something. Raises MachineError."""
        end = time.monotonic() + seconds
        while text not in self.console():
            if time.monotonic() > end or not self.running:
                raise MachineError(f"the guest did not say {text!r} within {seconds} s\n{self.console()[-6000:]}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._qemu.wait(PACE_SECONDS)

    def press_power_button(self) -> None:
        """Ask the guest to power off, as a hypervisor does."""
        for command in ("qmp_capabilities", "system_powerdown"):
            assert self._qemu.stdin is not None
            self._qemu.stdin.write(json.dumps({"execute": command}).encode() + b"\n")
            self._qemu.stdin.flush()

    def await_end(self, seconds: float = WAIT_SECONDS) -> int:
        """Wait until the machine is off, and give QEMU's exit code. Raises MachineError."""
        try:
            return self._qemu.wait(seconds)
        except subprocess.TimeoutExpired:
            raise MachineError(f"not off within {seconds} s\n{self.console()[-6000:]}") from None

    def close(self) -> None:
        """Switch it off, if it is on, by pulling the plug."""
        for process in (self._qemu, self._backend):
            if process is not None:
                process.kill()
                process.wait(WAIT_SECONDS)
        if self._qemu.stdin is not None:
            self._qemu.stdin.close()

    def _start_backend(self) -> None:
        with contextlib.ExitStack() as stack:
            emulator, host, sibling = (
                stack.enter_context(_listening(self._folder / f"{name}.sock")) for name in ("vhost", "host", "sibling")
            )
            log = stack.enter_context((self._folder / "backend.log").open("wb"))
            doors = [f"{host.fileno()}={HOST_CID}", f"{sibling.fileno()}={SIBLING_CID}"]
            program = [sys.executable, "-m", "tests.vm.vsock_backend", str(GUEST_CID), str(emulator.fileno()), *doors]
            self._backend = subprocess.Popen(
                [*DIE_WITH_TESTS, *program], cwd=REPO, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[sock.fileno() for sock in (emulator, host, sibling)],
            )  # fmt: skip

    def _command(self, kernel: Path, initrd: Path, words: str) -> list[str]:
        return [
            *DIE_WITH_TESTS, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-accel", "tcg,thread=multi", "-machine", "q35,memory-backend=memory", "-cpu", "max", "-smp", "1",
            "-m", MEMORY, "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
            "-kernel", str(kernel), "-initrd", str(initrd), "-append", words,
            "-serial", f"file:{self._folder}/console.log", "-qmp", "stdio",
            "-chardev", f"socket,id=vsock,path={self._folder}/vhost.sock",
            "-device", "vhost-user-vsock-pci,chardev=vsock",
        ]  # fmt: skip


def _listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(16)
    return sock


@contextlib.contextmanager
def booted(image: Image, *settings: str) -> Iterator[Machine]:
    """Boot a machine, lend it, and take it down with all it left."""
    # Not the test's own folder: a socket's path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="taskd-vm-"))
    machine = Machine(folder)
    try:
        machine.boot(image, *settings)
        yield machine
    finally:
        machine.close()
        shutil.rmtree(folder, ignore_errors=True)
