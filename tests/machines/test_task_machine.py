"""Hosts, agents, the disk and timers in any order, against what the contract promises to each of them."""

from collections import Counter, defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskd.core import effects as fx
from taskd.core.stimuli import AgentSaid, ChildGone, OpenFailed, Prepared, Saved, SaveFailed, ShutdownAsked, TimerFired
from taskd.model import agent, calls, events
from taskd.model.errors import Code, TaskdError
from taskd.model.records import Opened
from taskd.model.states import TaskState
from tests.kit.playbook import ALL, Playbook

TASKS = st.sampled_from(["a", "b", "c"])
CHANNELS = st.sampled_from([1, 2])
QUESTION = agent.Asked("q", "confirm", "Sure?")


class Hosts(RuleBasedStateMachine):
    """The world around the machine: it only does what a real host, child, disk or clock could do next."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Playbook()
        self.processes: dict[tuple[str, int], bool] = {}
        """Running children, and whether they were asked to stop."""
        self.opening: list[fx.Open] = []
        self.saving: list[fx.Save] = []
        self.timers: set = set()
        self.answered: Counter = Counter()
        self.asked = 0
        self.turns: dict[str, str] = {}
        self.dead: set[tuple[str, int]] = set()
        self.quit = False
        self.incarnation: dict[str, int] = defaultdict(int)

    # Hosts

    @rule(task=TASKS, channel=CHANNELS)
    def open(self, task, channel):
        self.ask(calls.CreateOrOpenTask(task_id=task), channel)

    @rule(task=TASKS, channel=CHANNELS, late=st.booleans())
    def switch(self, task, channel, late):
        self.play.now += 100 if late else 0.1
        self.ask(calls.SwitchTask(task_id=task), channel)

    @rule(channel=CHANNELS)
    def prompt(self, channel):
        self.ask(calls.Prompt(message="x"), channel)

    @rule(task=TASKS, channel=CHANNELS)
    def stop(self, task, channel):
        self.ask(calls.StopTask(task_id=task), channel)

    @rule(channel=CHANNELS, params=st.sampled_from([calls.Abort(), calls.Steer(message="x"), calls.ListModels()]))
    def command(self, channel, params):
        self.ask(params, channel)

    @rule(channel=CHANNELS)
    def answer(self, channel):
        self.ask(calls.Answer(request_id="q", confirmed=True), channel)

    @rule(channel=CHANNELS)
    def hang_up(self, channel):
        self.take(self.play.leaves(channel))

    @precondition(lambda self: not self.quit)
    @rule(sure=st.integers(0, 30))
    def shut_down(self, sure):
        if sure == 0:
            self.take(self.play >> ShutdownAsked("test"))

    # The disk and the children

    @precondition(lambda self: self.opening)
    @rule(works=st.booleans())
    def spawn(self, works):
        wanted = self.opening.pop(0)
        if not works:
            error = TaskdError(Code.TASK_BOOTSTRAP_FAILED, "no")
            self.take(self.play >> OpenFailed(wanted.task, wanted.incarnation, error))
            return
        others = [key for key in self.processes if key[0] == wanted.task]
        assert not others, f"two processes of one task at once: {others}"
        self.processes[wanted.task, wanted.incarnation] = False
        self.take(self.play >> Prepared(wanted.task, wanted.incarnation, Opened("/s", "/s/work", "/s/n")))

    @precondition(lambda self: self.processes)
    @rule(
        data=st.data(),
        said=st.sampled_from(
            [
                agent.Ready(ALL),
                agent.Refused("no"),
                agent.Alive(),
                agent.TextDelta("x"),
                agent.TurnEnded("stop"),
                agent.MessageEnded("assistant", (), agent.Usage(input=1)),
                QUESTION,
                agent.Noise("noise"),
            ]
        ),
    )
    def speak(self, data, said):
        task, incarnation = data.draw(st.sampled_from(sorted(self.processes)))
        self.take(self.play >> AgentSaid(task, incarnation, said))

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def die(self, data):
        key = data.draw(st.sampled_from(sorted(self.processes)))
        del self.processes[key]
        self.take(self.play >> ChildGone(*key, None, 9))

    @precondition(lambda self: self.saving)
    @rule(works=st.booleans())
    def save(self, works):
        wanted = self.saving.pop(0)
        task, turn = wanted.record.task_id, wanted.turn
        if works:
            self.take(self.play >> Saved(task, turn.turn_id, turn.number, 1.0))
        else:
            self.take(self.play >> SaveFailed(task, turn.turn_id, TaskdError(Code.SESSION_SAVE_FAILED, "full")))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def fire(self, data):
        timer = data.draw(st.sampled_from(sorted(self.timers, key=repr)))
        self.timers.discard(timer)
        self.take(self.play >> TimerFired(timer))

    # What is promised

    def ask(self, params, channel):
        self.asked += 1
        self.play.ask(params, channel=channel)
        self.take(self.play)

    def take(self, play):
        for effect in play.effects:
            self.see(effect)

    def see(self, effect):
        match effect:
            case fx.Reply(call, _) | fx.Refuse(call, _):
                self.answered[call] += 1
            case fx.Open():
                self.opening.append(effect)
            case fx.Save():
                self.saving.append(effect)
            case fx.SetTimer(timer, seconds):
                assert seconds > 0
                self.timers.add(timer)
            case fx.ClearTimer(timer):
                self.timers.discard(timer)
            case fx.Quit():
                self.quit = True
            case fx.Publish(task, event) if task is not None:
                self.told(task, event)

    def told(self, task, event):
        number = self.incarnation[task]
        if isinstance(event, events.TaskBootstrapState) and event.status == "pending":
            number = self.incarnation[task] = event.incarnation
        of_the_task = isinstance(event, events.TaskStopped)
        assert of_the_task or (task, number) not in self.dead, f"{event} of {task} #{number} after its task_error"
        match event:
            case events.TurnStarted():
                assert task not in self.turns, "two turns at once"
                self.turns[task] = event.turn_id
            case events.AgentEnd():
                assert self.turns.pop(task, None) == event.turn_id, "an end without its beginning, or twice"
            case events.TaskError():
                self.dead.add((task, number))
                assert self.turns.pop(task, None) == event.turn_id
            case events.TaskStopped():
                assert task not in self.turns, "a turn outlived its task"
                self.incarnation[task] = number + 0.5

    @invariant()
    def nobody_is_answered_twice(self):
        assert not [call for call, times in self.answered.items() if times > 1]

    @invariant()
    def a_turn_is_open_only_where_the_machine_has_one(self):
        for task, turn_id in self.turns.items():
            turn = self.play.task(task).turn
            assert turn is not None
            assert turn.turn_id == turn_id

    def teardown(self):
        """Everything that is due comes: then every call is answered and every turn has ended."""
        self.take(self.play >> ShutdownAsked("the end"))
        for _ in range(200):
            if self.opening:
                self.spawn(works=False)
            elif self.saving:
                self.save(works=True)
            elif self.processes:
                key = sorted(self.processes)[0]
                del self.processes[key]
                self.take(self.play >> ChildGone(*key, 0, None))
            elif self.timers:
                self.take(self.play >> TimerFired(self.timers.pop()))
        assert self.quit
        assert not self.turns
        missing = self.asked - sum(self.answered.values())
        assert missing == 0, f"{missing} calls were never answered"
        living = {TaskState.CREATING, TaskState.READY, TaskState.ACTIVE, TaskState.IDLE}
        assert not [task for task in self.play.machine.world.tasks.values() if task.state in living]


TestHosts = Hosts.TestCase
TestHosts.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
