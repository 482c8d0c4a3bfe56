"""What a guest may say against the contract: nothing of it raises, or reaches a call that it is not for."""

import json

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_client import GuestError, connect
from host_client.errors import BadAnswer, HostError
from host_client.methods import ANSWER, GET_STATE, SET_MODEL
from host_client.rpc import Rpc
from taskd.model.calls import GetState
from taskd.model.events import EVENTS
from taskd.wire.framing import LineSplitter
from taskd.wire.registry import TONGUES
from tests.kit.fake_guest_wire import memory_pair

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("taskId", "seq", "at", "turnId", "promptId", "incarnation", "chunk", "code", "message", "usage", "details")
NOISE = st.one_of(
    st.binary(max_size=40).filter(lambda data: b"\n" not in data),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda method, params: json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode(),
        st.sampled_from(sorted(EVENTS)),
        JSON | st.dictionaries(st.sampled_from(FIELDS), JSON),
    ),
    st.builds(
        lambda id, member, value: json.dumps({"jsonrpc": "2.0", "id": id, member: value}).encode(),
        st.sampled_from(["host-1", "host-2", "nobody"]) | JSON,
        st.sampled_from(["result", "error"]),
        JSON,
    ),
    st.builds(
        lambda event, task_id, payload: json.dumps(
            {"type": "event", "event": event, "taskId": task_id, "timestamp": "", "payload": payload}
        ).encode(),
        st.sampled_from(sorted(EVENTS)),
        JSON,
        JSON | st.dictionaries(st.sampled_from(FIELDS), JSON),
    ),
)


class Listening:
    """A whole client without a loop: everything that hears, behind one `Rpc`."""

    def __init__(self, dialect):
        from host_client.client import Client
        from host_client.conversation import ConversationCache
        from host_client.greeting import Options

        options = Options(client_id="host", dialect=dialect)
        self.client = Client(None, "test", None, options, ConversationCache(None))
        self.events = self.client.events(raw=True)
        self.client._link.up = True
        self.turn = self.client.prompt("t1", "Hi", prompt_id="p1")
        self.client._turns.add(self.turn)

    def take(self, data):
        self.client._rpc._take(LineSplitter(1 << 20), data)


@pytest.mark.parametrize("dialect", sorted(TONGUES))
@given(lines=st.lists(NOISE, max_size=8))
def test_nothing_that_a_guest_says_raises(dialect, lines):
    Listening(dialect).take(b"".join(line + b"\n" for line in lines))


@pytest.mark.parametrize(
    "body",
    [
        b'{"seq":1e999}',
        b'{"seq":1,"chunk":"\\ud83d"}',
        b'{"seq":1,"chunk":"' + b"\xff" + b'"}',
        b'{"seq":99999999999999999999,"chunk":"x"}',
        b'{"seq":1,"incarnation":1e400,"code":"X","message":"","retryable":true}',
        b'{"seq":1,"details":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("name", ["agent_output", "task_error"])
def test_numbers_and_strings_that_python_cannot_hold_do_not_raise(name, body):
    Listening("jsonrpc").take(b'{"jsonrpc":"2.0","method":"%b","params":%b}\n' % (name.encode(), body))


@pytest.mark.anyio
@pytest.mark.parametrize("result", [b"null", b"5", b'{"tasks":[{"state":1e999}]}', b'{"activeTaskId":"\\ud83d"}'])
async def test_an_answer_that_cannot_be_read_fails_its_call_alone(result):
    theirs, ours = memory_pair()
    rpc = Rpc("host", TONGUES["jsonrpc"](), lambda told: None, lambda line: None)
    failures = []

    async def call():
        try:
            await rpc.call(GET_STATE, GetState(), 5.0, urgent=True)
        except HostError as error:
            failures.append(error)

    from host_client.channel import Channel

    channel = Channel(theirs)
    rpc.attach(channel)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rpc.run, channel)
            tasks.start_soon(call)
            await ours.receive()
            await ours.send(b'{"jsonrpc":"2.0","id":"host-1","result":%b}\n' % result)
            while not failures:
                await anyio.lowlevel.checkpoint()
            channel.close("done")
        await ours.aclose()

    assert isinstance(failures[0], BadAnswer)
    assert len(rpc) == 0


@pytest.mark.parametrize("method", [ANSWER, SET_MODEL])
def test_a_result_that_p0_shows_in_part_is_filled_up(method):
    shown = b'{"id":"m","name":"M","provider":"p"}' if method is SET_MODEL else b"{}"

    assert method.read(shown).task_id == ""


@pytest.mark.anyio
async def test_a_call_that_cannot_be_right_is_refused_before_it_is_sent(guest):
    async with connect(guest.dial) as client:
        with pytest.raises(GuestError) as caught:
            await client.set_model("", "")
    assert caught.value.code == "INVALID_PARAMS"


@pytest.mark.anyio
async def test_an_unknown_dialect_is_the_callers_mistake(guest):
    with pytest.raises(ValueError, match="there is jsonrpc, p0"):
        async with connect(guest.dial, dialect="esperanto"):
            pass
