import pytest

from taskd.model import calls
from tests.kit.playbook import Playbook


@pytest.fixture
def play():
    play = Playbook()
    play.open("a", channel=1)
    return play


def test_the_first_channel_that_changes_something_drives(play):
    assert play.machine.world.driver == 1


def test_other_channels_may_not_change_anything(play):
    call = play.ask(calls.SwitchTask(task_id="a"), channel=2)

    assert play.answer(call) == "NOT_DRIVER"
    assert play.state("a") == "ready"


def test_the_lease_ends_with_its_channel(play):
    assert play.leaves(1).said() == ["driver_changed"]
    play.ask(calls.SwitchTask(task_id="a"), channel=2)

    assert play.machine.world.driver == 2


def test_another_channels_end_changes_nothing(play):
    assert play.leaves(7).said() == []
    assert play.machine.world.driver == 1


def test_the_lease_can_be_given_back(play):
    assert play.answer(play.ask(calls.ReleaseDriver(), channel=1)).driver is False
    assert play.machine.world.driver is None


def test_giving_back_what_one_does_not_hold_changes_nothing(play):
    play.ask(calls.ReleaseDriver(), channel=2)

    assert play.machine.world.driver == 1


def test_the_lease_is_taken_only_by_force_from_a_holder(play):
    assert play.answer(play.ask(calls.TakeDriver(), channel=2)) == "NOT_DRIVER"
    assert play.answer(play.ask(calls.TakeDriver(force=True), channel=2)).driver
    assert play.machine.world.driver == 2
    assert play.answer(play.ask(calls.SwitchTask(task_id="a"), channel=1)) == "NOT_DRIVER"


def test_among_hosts_that_know_no_lease_the_newest_channel_drives():
    play = Playbook()
    old = {"newest_drives": True}
    play.ask(calls.SystemBash(command="true"), channel=2, **old)
    play.ask(calls.SystemBash(command="true"), channel=3, **old)
    assert play.machine.world.driver == 3
    assert play.said() == ["run bash", "driver_changed"]

    assert play.answer(play.ask(calls.SystemBash(command="true"), channel=2, **old)) == "NOT_DRIVER"
    assert play.answer(play.ask(calls.SystemBash(command="true"), channel=4)) == "NOT_DRIVER"


def test_such_a_host_does_not_take_the_lease_from_one_that_knows_it(play):
    assert play.answer(play.ask(calls.SwitchTask(task_id="a"), channel=9, newest_drives=True)) == "NOT_DRIVER"
