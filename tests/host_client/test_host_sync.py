"""The blocking client: the same calls, from a thread that has no event loop."""

import threading
from contextlib import contextmanager

import pytest
from anyio.from_thread import start_blocking_portal

from host_client import AgentOutput, DialFailed, GuestError, SwitchTimeout, sync
from tests.kit.fake_guest import FakeGuest


@pytest.fixture
def served(tmp_path):
    """A fake guest in a loop of its own: its socket's address and itself."""

    @contextmanager
    def serve():
        path = f"{tmp_path}/taskd.sock"
        guest = FakeGuest()
        guest.add_task("t1", state="active")
        with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(guest.listening(path)):
            yield f"unix:{path}", guest

    with serve() as pair:
        yield pair


def test_calls_block_and_give_the_same_structs(served):
    address, guest = served
    with sync.connect(address, client_id="script") as client:
        assert client.connected
        assert client.hello.server_info.name == "fake"
        assert client.open("t2", working_folder="/src").mode == "created"
        assert client.switch("t2", timeout=5.0).task_id == "t2"
        assert client.mirror.active_task_id == "t2"
        assert client.get_state().active_task_id == "t2"
        assert client.conversation("t2").turns == ()
        assert client.system_bash("true").exit_code == 0
        client.reconnect(5.0)
        assert client.ping().at
    assert guest.effects == ["create_or_open_task", "switch_task", "system_bash"]


def test_a_turn_is_iterated_and_has_its_result(served):
    address, _ = served
    with sync.connect(address) as client:
        turn = client.prompt("t1", "Hi")
        assert [item.chunk for item in turn if isinstance(item, AgentOutput)] == ["Hello, ", "world."]
        assert (turn.result.text, turn.turn_id) == ("Hello, world.", "turn_1")

        assert client.prompt("t1", "Hi").result.turn_number == 2
        assert list(client.prompt("t1", "Hi").start().text()) == ["Hello, ", "world."]


def test_events_are_iterated(served):
    address, _ = served
    with sync.connect(address) as client, client.events() as events:
        client.open("t2")
        assert next(events).name == "task_bootstrap_state"


def test_errors_are_the_same(served):
    address, guest = served
    guest.mute.add("switch_task")
    with sync.connect(address) as client:
        with pytest.raises(GuestError):
            client.get_task("t9")
        with pytest.raises(SwitchTimeout):
            client.switch("t1", timeout=0.05)
        assert client.ping().at

    with pytest.raises(DialFailed), sync.connect(f"{address}.none"):
        pass


def test_what_the_block_raises_leaves_it_as_it_is(served):
    with pytest.raises(ZeroDivisionError), sync.connect(served[0]):
        _ = 1 / 0


def test_several_threads_may_use_one_client(served):
    found = []
    with sync.connect(served[0]) as client:

        def ask():
            found.extend(client.get_task("t1").task_id for _ in range(10))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    assert found == ["t1"] * 40


def test_the_methods_keep_their_names_and_words():
    assert sync.SyncClient.switch.__doc__.startswith("Make a ready or idle task the active one")
