#!/usr/bin/python3
"""Runs in the guest and comes in by vsock from inside, as an agent would. It prints one JSON object.

    loopback knock CID PORT   what becomes of a connection: `answered`, `hung up on`, or the kernel's refusal
    loopback dial ADDRESS     what host_client says of an address where it cannot connect
    loopback host             a second daemon that admits the loopback, driven by host_client over it

No wait is without a limit: the caller's `timeout_seconds` ends this with all that it started.
"""

import json
import os
import socket
import subprocess
import sys

LOOPBACK_CID = 1
WAIT_SECONDS = 120.0
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
SECOND = (
    "taskd", "serve", "--listen", "vsock:0", "--listen", f"vsock:{LOOPBACK_CID}:0", "--log-format", "json",
)  # fmt: skip


def knock(cid: int, port: int) -> str:
    """Connect and send a call; say what came of it."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as sock:
        sock.settimeout(WAIT_SECONDS)
        try:
            sock.connect((cid, port))
        except OSError as error:
            return str(error.strerror)
        try:
            sock.sendall(PING)
            return "answered" if sock.recv(1) else "hung up on"
        except (BrokenPipeError, ConnectionResetError):
            return "hung up on"


def dial(address: str) -> str:
    """Connect by host_client, which must fail; say how."""
    from host_client.errors import DialFailed
    from host_client.sync import connect

    try:
        with connect(address):
            return "connected"
    except DialFailed as error:
        return str(error)


def host() -> dict[str, object]:
    """Start a second daemon with a door to all and one to the loopback alone, try both, and stop it."""
    state = f"/tmp/second-{os.getpid()}"
    environ = {"PATH": os.environ["PATH"], "TASKD_ALLOWED_CIDS": str(LOOPBACK_CID), "TASKD_STATE_DIR": state}
    with subprocess.Popen(SECOND, env=environ, stderr=subprocess.PIPE) as daemon:
        assert daemon.stderr is not None
        ready = json.loads(next(line for line in daemon.stderr if b'"ready"' in line))
        try:
            anywhere, inside = (int(address.rpartition(":")[2]) for address in ready["listen"])
            return {"listen": ready["listen"], **drive(anywhere), "inside": knock(LOOPBACK_CID, inside)}
        finally:
            daemon.terminate()


def drive(port: int) -> dict[str, object]:
    """Open a task and let it do a turn; say what it answered, and as whom the daemon sees us."""
    from host_client.sync import connect  # half a second here, and to knock does not need it

    with connect(f"vsock:{LOOPBACK_CID}:{port}") as client:
        client.open("inside")
        client.switch("inside", timeout=WAIT_SECONDS)
        text = client.prompt("inside", "echo from inside").result.text
        return {"text": text, "peers": [channel["peer"] for channel in client.diag().channels]}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["knock", cid, port]:
            told: object = knock(int(cid), int(port))
        case ["dial", address]:
            told = dial(address)
        case _:
            told = host()
    print(json.dumps(told))
