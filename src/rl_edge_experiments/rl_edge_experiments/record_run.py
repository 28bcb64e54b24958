"""Run the closed loop, record it, and return its metrics: the one way from a run to a number.

run = record_run(RunRequest(folder, {'episodes': '10', 'configuration': 'compressed'}))
run.robot.summary.episode_return        # of the whole bag
run.acting.response_us.p99              # while the policy acted
"""

import contextlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rl_edge_bringup.child_process import ChildProcess
from rl_edge_bringup.models import environment_of
from rl_edge_bringup.prepare import PreparedSystem, prepare
from rl_edge_bringup.recording import BAG_FOLDER, RL_EDGE
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import NodeDescription, find_system
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import hold_folder
from rl_edge_core.results import write_json
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_nanoseconds
from rl_edge_eval.metrics.run_metrics import NodeMetrics, RobotMetrics, RunMetrics
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_experiments.observer import Observer
from rl_edge_interfaces.msg import Transition
from rl_edge_sim.video import drawing_environment

RUN_FILE = 'run.json'
_START_TIMEOUT_SEC = 400.0
_SILENCE_SEC = 120.0
"""A slow policy is a result here, and no failure."""
_POLL_SEC = 0.1
_ENDING_ORDER = ('robot', 'sim', 'policy', 'recorder')
"""What runs the loop comes first, and who records it last."""
_LAST_LINES = 15
"""Of each process that are shown when a run fails."""
_ARRIVAL_NS = 200_000_000
"""By how much later than here a message may arrive at the recorder."""

Conditions = Callable[[RunningSystem, Observer], contextlib.AbstractContextManager[dict[str, Any]]]
"""What holds while the policy acts; entered with the policy's system and an observer of the robot,
without its transitions. What is in the mapping afterwards is kept with the run."""


@dataclass(frozen=True)
class RunRequest:
    """What to run, and for how long."""

    folder: Path
    arguments: Mapping[str, str]
    """Of the system `sim`; recording and the namespace are added."""
    seconds: float = 0.0
    """From the first action on; 0 for until the simulator has run its episodes."""
    steps: int = 0
    """End after so many instead, at once: nothing says what was used until the end."""
    load: int = 0
    """Busy processes beside."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else the metrics depend on; a run with other settings is not reused."""
    policy_prefix: tuple[str, ...] = ()
    """Words before the policy's command line, such as those that run it on another host."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the nodes."""
    robot: str = ''
    """Description of a robot: the simulator plays it behind standard topics, and the robot node
    runs the loop."""

    @property
    def driver(self) -> str:
        """Return the node that runs the loop."""
        return 'robot' if self.robot else 'sim'


@dataclass(frozen=True)
class RecordedRun:
    """A run as it was recorded."""

    bag: Path
    metrics: RunMetrics
    begin_ns: int
    """Since when the policy acted under the conditions of the run, system clock."""
    end_ns: int
    """When the policy had reported what it used until the end."""
    conditions: Mapping[str, Any]
    """What the conditions measured."""
    steps_before: int = 0
    """That had been seen when the time began, of a run that ends after a number of steps: where
    the counted ones begin in its series, however late they arrived here."""

    @property
    def robot(self) -> RobotMetrics:
        """Return the metrics of the whole bag."""
        return self.metrics.robot

    @cached_property
    def acting(self) -> RobotMetrics:
        """Return the metrics of the time from the first action to the end of the run."""
        return self.robot.between(self.begin_ns, self.end_ns)

    def usage_of(self, node: str) -> NodeMetrics:
        """Return what a node used while the policy acted; raise RlEdgeError without 2 reports."""
        usage = self.acting.node(node)
        if usage.samples < 2:
            raise RlEdgeError(
                f'{self.bag} has {usage.samples} reports of {node} while the policy acted, needs '
                f'2 (nodes report once per second): let the run take longer'
            )
        return usage


@dataclass(frozen=True)
class Program:
    """A node with a command line of its own; a `RunningSystem` starts it."""

    node: NodeDescription
    command: tuple[str, ...]


def record_run(
    request: RunRequest,
    *,
    conditions: Conditions | None = None,
    reuse: bool = False,
    on_episodes: Callable[[int], None] = lambda episodes: None,
) -> RecordedRun:
    """Run and record a loop, or take the recording of an equal run where ``reuse`` is true.

    The simulator is started first, so that the policy's time to its first action has no waiting
    for the simulator in it. ``on_episodes`` receives the number of episodes so far. A former
    recording in the folder is removed. Raise RlEdgeError when a node exits or the policy does
    not act, and what `prepare` raises.
    """
    (run,) = record_runs([request], conditions=conditions, reuse=reuse, on_episodes=on_episodes)
    return run


def record_runs(
    requests: Sequence[RunRequest],
    *,
    conditions: Conditions | None = None,
    reuse: bool = False,
    on_episodes: Callable[[int], None] = lambda episodes: None,
) -> list[RecordedRun]:
    """Run and record several loops at once, each in a namespace and a folder of its own.

    They begin together, and end when each has come to its end; see `record_run`.
    """
    all_loops = [
        _Loop(request, namespace=f'run{os.getpid()}_{index}')
        for index, request in enumerate(requests)
    ]
    former = [loop.former() if reuse else None for loop in all_loops]
    loops = [loop for loop, run in zip(all_loops, former, strict=True) if run is None]
    with contextlib.ExitStack() as stack:
        for loop in loops:
            loop.start_simulator(stack)
        for loop in loops:
            loop.start_policy(stack)
        acting = [loop.wait_until_acting() for loop in loops]
        with contextlib.ExitStack() as held:
            measured = [
                held.enter_context(conditions(*one)) if conditions else {} for one in acting
            ]
            for loop in loops:
                loop.begin()
            for loop in loops:
                loop.wait_until_over(on_episodes)
        for node in _ENDING_ORDER:
            stopped = [system for loop in loops if (system := loop.stopped(node))]
            for system in stopped:
                if (outcome := system.wait()).exit_code:
                    raise _failure(outcome.reason, system)
    made = (loop.recorded(found) for loop, found in zip(loops, measured, strict=True))
    return [run or next(made) for run in former]


class _Loop:
    """Simulator, policy and recorder of one run."""

    def __init__(self, request: RunRequest, *, namespace: str) -> None:
        self._request, self._namespace = request, namespace
        self._folder = hold_folder(request.folder)
        self._prepare()
        self._systems: dict[str, RunningSystem] = {}
        self._observer: Observer
        self._steps = 0
        self._counting = contextlib.ExitStack()
        self._first = self._begin_ns = self._end_ns = 0
        self._deadline_sec = math.inf

    def _prepare(self) -> None:
        """Settle the system with the policy, and the processes of the loop."""
        request = self._request
        given = {
            'first_action_timeout_sec': str(_START_TIMEOUT_SEC),
            'policy_timeout_sec': str(_SILENCE_SEC),
            'log_level': 'warn',
            **request.arguments,
            'namespace': self._namespace,
            'record': 'true',
            'recorder': RL_EDGE,
            'output_folder': str(self._folder),
        }
        if not request.robot:
            self._prepared = prepare(find_system('sim'), given)
            self._processes = self._prepared.processes
            return
        robot = {'description': request.robot, 'reset_service': 'sim/reset'}
        self._prepared = _prepared('robot', given | robot)
        folder = str(self._folder / 'simulator')
        alone = {'interface': 'standard', 'record': 'false', 'output_folder': folder}
        if self._prepared.model:  # which a simulator alone does not know
            alone |= environment_of(self._prepared.model, given)
        simulator = _prepared('desktop', given | alone)
        self._processes = (*self._prepared.processes, *simulator.processes)

    def former(self) -> RecordedRun | None:
        """Return the recording that is there, if it is of an equal run."""
        try:
            content = json.loads((self._folder / RUN_FILE).read_text())
        except (OSError, ValueError):
            return None
        if content.get('settings') != self._settings or not (self._folder / BAG_FOLDER).is_dir():
            return None
        return self._from(content['measured'])

    @property
    def _settings(self) -> dict[str, Any]:
        request, model = self._request, self._prepared.model
        return {
            'arguments': dict(request.arguments),
            'model': model.sha256 if model else '',
            'seconds': request.seconds,
            'load': request.load,
            **({'robot': request.robot} if request.robot else {}),
            **request.settings,
        }

    def start_simulator(self, stack: contextlib.ExitStack) -> None:
        """Start recorder and simulator, and wait until the simulator has announced itself."""
        shutil.rmtree(self._folder / BAG_FOLDER, ignore_errors=True)
        (self._folder / RUN_FILE).unlink(missing_ok=True)
        self._prepare()  # anew: the bag's folder is free now
        stack.enter_context(busy_processes(self._request.load))
        domain_id = self._request.variables.get('ROS_DOMAIN_ID')
        domain = int(domain_id) if domain_id else None
        observer = Observer(self._namespace, domain_id=domain)
        self._observer = stack.enter_context(observer)
        stack.callback(self._end)
        # Not the other way round: the recorder has to be the last to end.
        for node in ('recorder', 'sim', *(['robot'] if self._request.robot else [])):
            self._start(node)
        self._wait_for(lambda: self._observer.sees_simulator, 'the simulator did not start')

    def start_policy(self, stack: contextlib.ExitStack) -> None:
        """Start the policy, and count the steps."""
        stack.enter_context(self._counting)
        if self._records_transitions:

            def count(_: Transition) -> None:
                self._steps += 1

            steps = self._observer.subscribed(Transition, 'transition', count, qos.transition())
            self._counting.enter_context(steps)
        self._start('policy')

    @property
    def _records_transitions(self) -> bool:
        topics = self._request.arguments.get('record_topics', 'default')
        return any(word in topics for word in ('default', 'all', 'transition'))

    def _start(self, node: str) -> None:
        (process,) = (one for one in self._processes if one.node.name == node)
        prefix = self._request.policy_prefix if node == 'policy' else ()
        program = Program(process.node, (*prefix, *process.command))
        variables = {**drawing_environment(), **self._request.variables}
        self._systems[node] = RunningSystem([program], environment=variables)
        self._systems[node].__enter__()

    def _end(self) -> None:
        """End all that an interrupted run has left, at once and not one after the other."""
        running = [system for system in self._systems.values() if system.is_running()]
        for system in running:
            system.stop()
        for system in running:
            system.wait()

    def wait_until_acting(self) -> tuple[RunningSystem, Observer]:
        """Wait for the first step; from then on the recorder alone receives them, if possible."""
        if self._records_transitions:
            self._wait_for(
                lambda: self._steps > 0 or not self._systems[self._request.driver].is_running(),
                'the policy did not act',
            )
        if not self._request.steps:
            self._counting.close()
        return self._systems['policy'], self._observer

    def begin(self) -> None:
        """Let the time that is measured begin."""
        self._begin_ns, self._first = time.time_ns(), self._steps
        self._deadline_sec = time.monotonic() + (self._request.seconds or math.inf)

    def wait_until_over(self, on_episodes: Callable[[int], None]) -> None:
        """Wait until the run has come to its end, and the policy has said what it used."""
        steps, driver = self._request.steps, self._systems[self._request.driver]
        while driver.is_running() and time.monotonic() < self._deadline_sec:
            self._check()
            on_episodes(len(self._observer.episodes))
            if steps and self._steps - self._first >= steps:
                break
            time.sleep(_POLL_SEC)
        self._check()
        end_ns = time.time_ns()
        on_episodes(len(self._observer.episodes))
        policy = f'/{self._namespace}/policy'
        if not steps:
            self._wait_for(
                lambda: any(
                    usage.node == policy and to_nanoseconds(usage.header.stamp) > end_ns
                    for usage in list(self._observer.usages)
                ),
                'the policy did not report what it used',
            )
        self._end_ns = time.time_ns() + _ARRIVAL_NS

    def stopped(self, node: str) -> RunningSystem | None:
        """Tell a node to end; return its system, None for a node that the run has not."""
        system = self._systems.get(node)
        if system:
            system.stop()
        return system

    def recorded(self, conditions: Mapping[str, Any]) -> RecordedRun:
        """Keep what is not in the bag beside it, and return the run."""
        measured = {
            'begin_ns': self._begin_ns,
            'end_ns': self._end_ns,
            'conditions': dict(conditions),
            'steps_before': self._first,
        }
        write_json(self._folder / RUN_FILE, {'settings': self._settings, 'measured': measured})
        return self._from(measured)

    def _from(self, measured: Mapping[str, Any]) -> RecordedRun:
        bag = self._folder / BAG_FOLDER
        return RecordedRun(bag, metrics_of_bag(bag), **measured)

    def _wait_for(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SEC
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise _failure(otherwise, *self._systems.values())
            time.sleep(_POLL_SEC)

    def _check(self) -> None:
        for system in self._systems.values():
            if not system.is_running() and (outcome := system.wait()).exit_code:
                raise _failure(outcome.reason, system)


def _prepared(system: str, given: Mapping[str, str]) -> PreparedSystem:
    """Prepare one of the systems that share the arguments of a run."""
    description = find_system(system)
    valid = {argument.name for argument in description.arguments}
    return prepare(description, {name: given[name] for name in given if name in valid})


def _failure(reason: str, *systems: RunningSystem) -> RlEdgeError:
    last = '\n'.join(line for system in systems for line in system.log.of()[-_LAST_LINES:])
    return RlEdgeError(f'{reason}; the last lines were\n{last}')


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy, each with a core's worth of work, while the block runs."""
    busy = [sys.executable, '-c', 'while True: pass']
    children = [ChildProcess(busy, os.environ) for _ in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill_group()
            child.reap()
