"""What others hold on to: the public names, the table of methods, and that importing costs little."""

import subprocess
import sys
from inspect import iscoroutinefunction

import pytest

import host_client
from host_client import methods
from host_client.client import Client
from host_client.methods import Again, Method
from host_client.sync import SyncClient
from taskd.edge.methods import METHODS as GUESTS

OURS = {method.name: method for method in vars(methods).values() if isinstance(method, Method)}
EXTRAS = {"call", "start", "aclose", "begin_turn"}
"""Coroutines of the client that are no calls of scripts."""


def test_every_method_of_the_daemon_is_known_with_its_params_and_result():
    assert {name: (method.params, method.result) for name, method in OURS.items()} == {
        name: (method.params, method.result) for name, method in GUESTS.items()
    }


@pytest.mark.parametrize("name", OURS)
def test_a_change_is_sent_again_only_where_the_daemon_remembers_its_answer(name):
    method = OURS[name]
    if method.changes and method.again is not Again.NEVER:
        assert GUESTS[name].idempotent, f"{name} may have two effects when it is sent twice"


def test_the_blocking_client_has_every_call():
    calls = {name for name in dir(Client) if not name.startswith("_") and iscoroutinefunction(getattr(Client, name))}

    assert {name for name in calls - EXTRAS if not hasattr(SyncClient, name)} == set()


@pytest.mark.parametrize("name", host_client.__all__)
def test_every_public_name_is_there_and_described(name):
    assert getattr(host_client, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = host_client.nothing


def test_importing_the_package_loads_nothing_of_it():
    program = (
        "import sys, host_client; print([name for name in sys.modules if name.startswith(('host_client.', 'taskd'))])"
    )

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"
