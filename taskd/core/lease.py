"""Who drives: one channel may change things, the others observe.

The lease is taken by the first channel that asks for a change, and is free again when that channel ends or gives it
back. Answering an agent's question needs no lease, so that whoever sees it first can unblock the agent. Hosts of the
replaced system know no lease and expect that their last connection wins: among them it passes to the newer channel, so
that one whose old connection is half open can go on.
"""

from taskd.core.effects import Effect, Publish, Reply
from taskd.core.stimuli import ChannelClosed, Origin
from taskd.core.world import World
from taskd.model.calls import DriverResult, ReleaseDriver, TakeDriver
from taskd.model.errors import Code, TaskdError
from taskd.model.events import DriverChanged
from taskd.model.ids import ChannelId


def require(world: World, origin: Origin) -> list[Effect]:
    """Let a change through, and give the caller the lease if it is free.

    Raises:
        TaskdError: `NOT_DRIVER`.
    """
    if world.driver == origin.channel:
        return []
    if world.driver is not None and not _is_newer(world, origin, world.driver):
        raise _held(world.driver)
    return _give(world, origin)


def take(world: World, origin: Origin, params: TakeDriver) -> list[Effect]:
    """Take the lease, by force if asked."""
    if world.driver not in (None, origin.channel) and not params.force:
        raise _held(world.driver)
    reply = Reply(origin.call, DriverResult(driver=True))
    return [reply] if world.driver == origin.channel else [reply, *_give(world, origin)]


def release(world: World, origin: Origin, params: ReleaseDriver) -> list[Effect]:
    """Give the lease back; from a channel that does not hold it, nothing."""
    reply = Reply(origin.call, DriverResult(driver=False))
    return [reply, *_drop(world, origin.channel)]


def channel_closed(world: World, stimulus: ChannelClosed) -> list[Effect]:
    """The lease ends with its channel."""
    return _drop(world, stimulus.channel)


def _is_newer(world: World, origin: Origin, driver: ChannelId) -> bool:
    return world.driver_yields and origin.newest_drives and origin.channel > driver


def _give(world: World, origin: Origin) -> list[Effect]:
    world.driver = origin.channel
    world.driver_yields = origin.newest_drives
    return [Publish(None, DriverChanged(held=True, channel=origin.channel))]


def _drop(world: World, channel: ChannelId) -> list[Effect]:
    if world.driver != channel:
        return []
    world.driver = None
    return [Publish(None, DriverChanged(held=False))]


def _held(holder: ChannelId | None) -> TaskdError:
    return TaskdError(
        Code.NOT_DRIVER,
        f"channel {holder} drives; observe, wait for driver_changed, or take_driver with force",
        details={"driver": holder},
    )
