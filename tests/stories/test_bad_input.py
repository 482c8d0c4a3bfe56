"""Input that no host should send, in both dialects and over three transports: each has its typed error, the channel
goes on, and so do the daemon and every other task.

Limits are low, so that huge lines are cheap.
"""

import itertools
import json
import random
import socket
from contextlib import ExitStack, contextmanager

import msgspec
import pytest

from taskd.edge.methods import METHODS
from taskd.model.errors import Code
from tests.kit.daemon import Daemon, socket_host
from tests.kit.speaker import Speaker, plain

LINE_BYTES = 4096
SETTINGS = (
    f'workspace_root = "{{root}}"\nfsync = false\n[limits]\nhost_line_bytes = {LINE_BYTES}\noutbox_bytes = 262144\n'
)
DIALECTS = ("jsonrpc", "p0")


class Places:
    """The daemons of this file: one with sockets, and for each dialect one on stdio, whose channel cannot change it."""

    def __init__(self, folder, stack):
        self.root = folder / "workspace"
        make_workspace(self.root)
        self._stack = stack
        settings = SETTINGS.format(root=self.root)
        self.sockets = Daemon(folder, settings, listen=("tcp:127.0.0.1:0",), flags=("--allow-unauthenticated",))
        stack.enter_context(self.sockets)
        with self.sockets.connect() as host:
            host.call("create_or_open_task", taskId="witness")
            self._port = int(next(text for text in ready(self.sockets) if text.startswith("tcp:")).rpartition(":")[2])
        self._pipes = {}
        self._folder, self._settings = folder, settings

    @contextmanager
    def speaker(self, transport, dialect):
        if transport == "stdio":
            yield self._pipe(dialect)
        else:
            with self._connect(transport) as host:
                yield Speaker(host, dialect)

    def _connect(self, transport):
        if transport == "unix":
            return self.sockets.connect()
        return socket_host(socket.create_connection(("127.0.0.1", self._port), timeout=20))

    def _pipe(self, dialect):
        if dialect not in self._pipes:
            folder = self._folder / dialect
            folder.mkdir()
            host = self._stack.enter_context(Daemon(folder, self._settings).stdio())
            self._pipes[dialect] = Speaker(host, dialect)
            self._pipes[dialect].call("create_or_open_task", taskId="witness")
        return self._pipes[dialect]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    with ExitStack() as stack:
        yield Places(tmp_path_factory.mktemp("bad-input"), stack)


@pytest.fixture(params=list(itertools.product(("unix", "tcp", "stdio"), DIALECTS)), ids="-".join)
def speaker(request, places):
    """A channel that speaks its dialect already; afterwards it still does, and the other task still works."""
    with places.speaker(*request.param) as speaker:
        speaker.call("ping")
        yield speaker
        speaker.call("switch_task", taskId="witness")
        assert speaker.turn("echo still here") == "still here\n"


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return request.param


NO_JSON = {
    "words": b"hello?",
    "half an object": b'{"id": "1", ',
    "two values": b'{"id": "1"} {"id": "2"}',
    "a NUL": b'{"id": "\x00"}',
    "only a NUL": b"\x00",
    "a control character": b'{"id": "\x1b"}',
    "U+2028 between tokens": "{\u2028}".encode(),
    "U+0085 alone": "\u0085".encode(),
    "half a UTF-8 sequence": b'{"id": "\xe2\x82"}',
    "a surrogate in UTF-8": b'{"id": "\xed\xa0\xbd"}',
    "an overlong slash": b'{"id": "\xc0\xaf"}',
    "UTF-16": '{"id": 1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"id": "1"}',
    "NaN": b'{"id": NaN}',
    "single quotes": b"{'id': 1}",
    "a comma too many": b'{"id": 1,}',
    "deep nesting": b"[" * 2000,
    "a bad escape": b'{"id": "\\x41"}',
}


def test_what_is_no_json_is_a_parse_error(speaker):
    codes = {name: speaker.fault(line) for name, line in NO_JSON.items()}

    assert codes == dict.fromkeys(NO_JSON, speaker.shown(Code.PARSE_ERROR))


def test_json_that_is_no_request_is_an_invalid_request(speaker):
    lines = [b"null", b"true", b"7", b'"text"', b"{}", b'{"id": null}']

    assert {line: speaker.fault(line) for line in lines} == dict.fromkeys(lines, "INVALID_REQUEST")


def test_blank_lines_are_nothing(speaker):
    before = len(speaker.host.seen)
    speaker.host.send_bytes(b"\n   \n\r\n\t \r\n")
    speaker.call("ping")

    assert [line for line in speaker.host.seen[before:] if "error" in line] == []


def test_lines_may_end_in_crlf(speaker):
    speaker.host.send_bytes(b"hello?\r\n")
    assert speaker.faults(1) == [speaker.shown(Code.PARSE_ERROR)]


def test_a_line_of_exactly_the_limit_is_taken(speaker):
    speaker.host.send_bytes(b"x" * LINE_BYTES + b"\n")

    assert speaker.faults(1) == [speaker.shown(Code.PARSE_ERROR)]


def test_longer_lines_are_skipped_to_their_newline_and_answered_once(speaker):
    speaker.host.send_bytes(b"x" * (LINE_BYTES + 1) + b"\n" + b"y" * (9 * LINE_BYTES) + b"\nhello?\n")

    assert speaker.faults(3) == ["LINE_TOO_LONG", "LINE_TOO_LONG", speaker.shown(Code.PARSE_ERROR)]


def test_a_good_request_that_is_too_long_is_not_carried_out(speaker):
    speaker.ask("create_or_open_task", taskId="too-long", agent="x" * LINE_BYTES)

    assert speaker.faults(1) == ["LINE_TOO_LONG"]
    assert speaker.refusal("get_task", taskId="too-long") == "TASK_NOT_FOUND"


def test_characters_that_are_no_newline_stay_in_their_line(speaker):
    odd = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    result = speaker.call("system_bash", command=f"printf %s '{odd}'")

    assert result["output"] == odd


def test_the_same_characters_unescaped(speaker):
    odd = "a\u2028b\u2029c\u0085d"
    body = {"command": f"printf %s '{odd}'"}
    request = {"jsonrpc": "2.0", "id": f"raw-{id(speaker)}", "method": "system_bash", "params": body}
    if speaker.dialect == "p0":
        request = {"id": f"raw-{id(speaker)}", "type": "system_bash", "payload": body}
    speaker.host.send_bytes(plain(request) + b"\n")

    assert speaker.answer(f"raw-{id(speaker)}")["output"] == odd


def test_an_unknown_method_is_said_to_be_unknown(speaker):
    names = ["", "rpc.discover", "__init__", "GET / HTTP/1.1", "prompt\0", "x" * 1000, "\ud83d"]
    codes = {name: speaker.refusal(name) for name in names}

    assert codes == dict.fromkeys(names, speaker.shown(Code.METHOD_NOT_FOUND))


FIELDS = [(name, field.encode_name) for name, row in METHODS.items() for field in msgspec.structs.fields(row.params)]


def test_a_param_of_the_wrong_type_is_refused(speaker):
    good = {"taskId": "witness", "token": "", "message": "x", "command": "true", "requestId": "x"}
    wrong = {field: 7 if field == "clientInfo" else {"an": "object"} for _, field in FIELDS}
    codes = {(name, field): speaker.refusal(name, **{**good, field: wrong[field]}) for name, field in FIELDS}

    assert codes == dict.fromkeys(FIELDS, speaker.shown(Code.INVALID_PARAMS))


@pytest.mark.parametrize("value", ["1e999", "9" * 400, '"\\ud83d"', "-0", "1E-400", '{"a":{"a":[]}}', '"\\u0000"'])
def test_what_a_method_does_not_know_is_not_looked_at(places, dialect, value):
    request = {
        "jsonrpc": '{"jsonrpc":"2.0","id":"odd %s","method":"stop_task","params":%s}\n',
        "p0": '{"id":"odd %s","type":"stop_task","payload":%s}\n',
    }[dialect]
    with places.speaker("unix", dialect) as speaker:
        params = f'{{"taskId":"nobody","unknown":{value}}}'
        speaker.host.send_bytes((request % (value.encode().hex()[:100], params)).encode())
        answer = speaker.host.until(lambda line: "error" in line)
        assert "TASK_NOT_FOUND" in json.dumps(answer)


TASK_IDS = {
    "empty": "",
    "one dot": ".",
    "two dots": "..",
    "reserved": "sessions",
    "300 characters": "x" * 300,
    "129 characters": "x" * 129,
    "a slash": "a/b",
    "upwards": "../a",
    "absolute": "/etc",
    "a backslash": "a\\b",
    "a leading dash": "-rf",
    "a leading dot": ".hidden",
    "NUL": "a\0b",
    "a newline": "a\n",
    "an escape sequence": "\x1b[2J",
    "DEL": "a\x7f",
    "a blank": "a b",
    "no ASCII": "aufgäbe",
    "U+2028": "a\u2028b",
    "half a surrogate pair": "a\ud83d",
}


@pytest.mark.parametrize("method", ["create_or_open_task", "switch_task", "stop_task", "get_session"])
def test_an_id_that_could_not_be_a_folder_is_refused(speaker, method):
    codes = {name: speaker.refusal(method, taskId=task_id) for name, task_id in TASK_IDS.items()}

    assert codes == dict.fromkeys(TASK_IDS, speaker.shown(Code.INVALID_PARAMS))
    assert not {task["taskId"] for task in speaker.call("get_state")["tasks"]} & set(TASK_IDS.values())


def make_workspace(root):
    (root / "good" / "deeper").mkdir(parents=True)
    (root / "file").write_text("")
    (root / "link").symlink_to(root / "good")
    (root / "dangling").symlink_to(root / "nobody")
    (root / "out").symlink_to("/")
    (root.parent / "outside").mkdir()


RELATIVE = {
    "absolute": "/etc",
    "upwards": "..",
    "upwards to a neighbour": "../outside",
    "down and up": "good/../..",
    "a link": "link",
    "through a link": "link/deeper",
    "a link out": "out/etc",
    "a dangling link": "dangling",
    "missing": "nobody",
    "a file": "file",
    "below a file": "file/x",
    "NUL": "good\0",
    "too long a name": "x" * 300,
    "too long a path": "good/" * 500,
}
ABSOLUTE = {
    "relative": "good",
    "outside": "/etc",
    "the root": "/",
    "upwards": "{root}/../outside",
    "a link": "{root}/link",
    "missing": "{root}/nobody",
    "a name that only begins alike": "{root}-2",
    "proc": "/proc/self/cwd",
}


@pytest.mark.parametrize(("field", "paths"), [("workingFolderRelative", RELATIVE), ("workingFolder", ABSOLUTE)])
def test_a_folder_that_is_no_place_to_work_is_refused_and_no_task_is_made(speaker, places, field, paths):
    codes = {}
    for name, path in paths.items():
        folder = {field: path.format(root=places.root)}
        codes[name] = speaker.refusal("create_or_open_task", taskId="stray", **folder)
        assert speaker.refusal("get_task", taskId="stray") == "TASK_NOT_FOUND"

    assert codes == dict.fromkeys(paths, "WORKSPACE_POLICY_VIOLATION")


def test_a_folder_that_is_one_is_taken(speaker, places):
    for field, path in (("workingFolderRelative", "good/deeper"), ("workingFolder", f"{places.root}/good/deeper")):
        task = f"{field}-{id(speaker)}"
        speaker.open(task, **{field: path})
        assert speaker.turn("pwd") == f"{places.root}/good/deeper\n"
        speaker.call("stop_task", taskId=task)


def test_noise_of_any_kind_is_survived(places, dialect):
    dice = random.Random(dialect)
    with places.speaker("unix", dialect) as speaker:
        speaker.call("ping")
        for _ in range(300):
            noise = dice.randbytes(dice.randrange(200))
            speaker.host.send_bytes(noise + b"\n")
        speaker.call("ping")


def test_half_a_line_at_the_end_of_a_channel_is_dropped(places, dialect):
    with places.speaker("unix", dialect) as speaker:
        speaker.call("ping")
        speaker.host.send_bytes(b'{"jsonrpc": "2.0", "id": 1, "method": "shutd')
    with places.speaker("unix", dialect) as speaker:
        speaker.call("ping")


def test_a_line_without_end_costs_no_memory(places, dialect):
    with places.speaker("unix", dialect) as speaker:
        pid = speaker.call("diag")["pid"]
        before = peak_kib(pid)
        for _ in range(64):
            speaker.host.send_bytes(b"x" * (1 << 20))
        speaker.host.send_bytes(b"\n")
        assert speaker.faults(1) == ["LINE_TOO_LONG"]
        assert peak_kib(pid) - before < 8 << 10


def test_a_host_that_only_asks_and_never_reads_is_cut_off_alone(places, dialect):
    """Its answers fill its outbox, and that is bounded."""
    with places.speaker("unix", dialect) as speaker, places.speaker("unix", dialect) as other:
        other.call("ping")
        with pytest.raises(OSError, match=r"pipe|reset"):  # noqa: PT012 how much fits into the socket is the kernel's affair
            while True:
                speaker.ask("diag")
        other.call("ping")


def peak_kib(pid):
    """Give the most memory that a process ever had."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def ready(daemon):
    """Give the addresses that the daemon listens on."""
    return next(line for line in daemon.logged() if line["event"] == "ready")["listen"]
