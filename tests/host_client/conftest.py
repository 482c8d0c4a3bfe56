import pytest

from host_client import connect
from tests.kit.fake_guest import FakeGuest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(params=["jsonrpc", "p0"])
def dialect(request):
    return request.param


@pytest.fixture
async def guest(anyio_backend):
    async with FakeGuest().running() as guest:
        yield guest


@pytest.fixture
async def client(guest):
    """A connected client without automatic reconnect; two tasks are there, `t1` is active."""
    guest.add_task("t1", state="active")
    guest.add_task("t2")
    async with connect(guest.dial, client_id="host", timeout=5.0) as client:
        yield client
