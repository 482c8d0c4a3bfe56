"""Whether we drive, worked out from what is heard; and which channel was ours."""

from hypothesis import given
from hypothesis import strategies as st

from host_client.lease import Lease
from taskd.model.events import DriverChanged


def held(channel):
    return DriverChanged(held=True, channel=channel)


FREE = DriverChanged(held=False)


def test_the_first_change_takes_it_and_the_event_behind_the_answer_names_us():
    lease = Lease()
    lease.changed()
    lease.hear(held(5))

    assert (lease.ours, lease.channel) == (True, 5)


def test_the_event_may_come_before_the_answer():
    lease = Lease()
    lease.hear(held(5))
    assert not lease.ours
    lease.changed()

    assert (lease.ours, lease.channel) == (True, 5)


def test_another_who_takes_it_has_it():
    lease = Lease()
    lease.changed()
    lease.hear(held(5))
    lease.hear(held(9))

    assert not lease.ours


def test_it_can_be_taken_back():
    lease = Lease()
    lease.changed()
    for event in (held(5), held(9)):
        lease.hear(event)
    lease.taken()
    lease.hear(held(5))

    assert (lease.ours, lease.channel) == (True, 5)


def test_taking_it_from_another_names_us_by_the_next_event():
    lease = Lease()
    lease.hear(held(9))
    lease.taken()
    lease.hear(held(5))

    assert (lease.ours, lease.channel) == (True, 5)


def test_taking_what_we_have_changes_nothing():
    lease = Lease()
    lease.changed()
    lease.hear(held(5))
    lease.taken()
    lease.hear(held(9))

    assert not lease.ours


def test_giving_it_back_and_changing_something_again():
    lease = Lease()
    lease.changed()
    lease.hear(held(5))
    lease.released()
    lease.hear(FREE)
    assert not lease.ours
    lease.changed()
    lease.hear(held(5))

    assert lease.ours


def test_a_new_connection_has_another_number():
    lease = Lease()
    lease.changed()
    lease.hear(held(5))
    lease.reconnected()
    lease.taken()
    lease.hear(held(6))

    assert (lease.ours, lease.channel) == (True, 6)


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["changed", "taken", "released", "reconnected"]).map(lambda name: (name,)),
            st.sampled_from([held(1), held(2), FREE]).map(lambda event: ("hear", event)),
        )
    )
)
def test_no_order_raises_and_a_holder_is_never_two(steps):
    lease = Lease()
    for name, *args in steps:
        getattr(lease, name)(*args)
        if name == "hear" and (not args[0].held or args[0].channel != lease.channel):
            assert not lease.ours
