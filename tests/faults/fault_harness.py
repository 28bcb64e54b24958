"""A loop of real nodes to inject faults into: started, observed and called from outside."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from watcher import Watcher

from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import find_system
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.transition_sequence import TransitionSequence
from rl_edge_experiments.record_run import Program
from rl_edge_interfaces.msg import EpisodeSummary, Observation, Transition
from rl_edge_interfaces.srv import LoadModel

NAMESPACE = 'ant0'
ENVIRONMENT = 'Pendulum-v1'
"""Small: the faults are in processes and messages, not in the robot."""
WAIT_SEC = 120.0
"""For anything that must happen; generous, since it costs nothing where all is well."""
STEADY_STEPS = 40
"""Steps in a row by the policy's own actions that count as recovered."""
SETTLING_SEC = 20.0
"""For transitions under way, which the summary of their episode may overtake."""
ACTION_LIMITS = (-2.0, 2.0)
"""Of `ENVIRONMENT`, in N m."""
Found = TypeVar('Found')


class FaultFailedError(RlEdgeError):
    """What was expected of a fault did not happen."""


@dataclass
class TransitionAudit:
    """Counts over the transitions that were seen while something was broken."""

    lost: int = 0
    doubled: int = 0
    outside: int = 0
    """Actions outside their limits, or not finite."""
    steps: int = 0
    safe_actions: int = 0


@dataclass
class FaultHarness:
    """One loop in one ROS domain, in one mode.

    As a context manager it starts simulator and policy, and stops everything afterwards.
    """

    folder: Path
    model: Path
    mode: str
    domain_id: int
    variables: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the nodes."""
    environment_id: str = ENVIRONMENT
    namespace: str = NAMESPACE
    qos: str = 'default'
    policy_prefix: tuple[str, ...] = ()
    """Words before the policy's command line, such as those that run it on another host."""
    simulator: RunningSystem = field(init=False)
    policy: RunningSystem = field(init=False)
    observer: Watcher = field(init=False)
    reports: list[DiagnosticStatus] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _number: Iterator[int] = field(default_factory=itertools.count)

    def __enter__(self) -> Self:
        """Start simulator and policy."""
        with contextlib.ExitStack() as failed:
            failed.callback(self.close)
            self.start_simulator()
            self.start_policy()
            failed.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.close()

    def close(self) -> None:
        """Stop everything that was started."""
        self._stack.close()

    def start(self, name: str, *, prefix: tuple[str, ...] = (), **arguments: str) -> RunningSystem:
        """Start a system in this domain; it is stopped with the harness."""
        description = find_system(name)
        valid = {argument.name for argument in description.arguments}
        given = {
            'namespace': self.namespace,
            'environment_id': self.environment_id,
            'model': str(self.model),
            'load_model': 'archive',
            'mode': self.mode,
            'qos': self.qos,
            'on_node_exit': 'respawn',
            'on_policy_timeout': 'wait',
            'policy_timeout_sec': '1.0',
            'first_action_timeout_sec': '1.0',
            **arguments,
            'output_folder': str(self.folder / f'{name}-{next(self._number)}'),
        }
        prepared = prepare(description, {key: given[key] for key in given if key in valid})
        programs = [
            Program(process.node, (*prefix, *process.command)) for process in prepared.processes
        ]
        running = RunningSystem(
            programs, on_node_exit=prepared.on_node_exit, environment=self._variables
        )
        return self._stack.enter_context(running)

    @property
    def _variables(self) -> dict[str, str]:
        return {'ROS_DOMAIN_ID': str(self.domain_id), **self.variables}

    def start_simulator(self) -> None:
        """Start the simulator (again)."""
        self.simulator = self.start('desktop')

    def start_policy(self) -> None:
        """Start the policy (again)."""
        self.policy = self.start('edge', prefix=self.policy_prefix)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Watcher]:
        """Watch the loop with a new observer, which is `observer` meanwhile."""
        self.reports = reports = []
        with (
            Watcher(self.namespace, domain_id=self.domain_id) as self.observer,
            self.observer.subscribed(
                DiagnosticArray, '/diagnostics', lambda array: reports.extend(array.status), 50
            ),
        ):
            yield self.observer

    def wait_for(self, what: str, condition: Callable[[], Found], sec: float = WAIT_SEC) -> Found:
        """Wait until ``condition`` holds; raise FaultFailedError that names ``what`` otherwise."""
        deadline = time.monotonic() + sec
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise FaultFailedError(f'{what}: did not happen within {sec:g} s')
            time.sleep(0.02)
        return found

    def wait_until_steady(self, what: str = 'the policy acts') -> None:
        """Wait for `STEADY_STEPS` steps from now on that the policy's own actions made."""
        mark = self.observer.transition_count

        def steady() -> bool:
            latest = self.latest(STEADY_STEPS)
            is_enough = self.observer.transition_count >= mark + STEADY_STEPS
            return is_enough and not any(t.safe_action or not t.model_hash for t in latest)

        self.wait_for(what, steady)

    def latest(self, count: int) -> list[Transition]:
        """Return the newest transitions."""
        return self.observer.latest(count)

    def wait_for_report(self, node: str, part: str, *, level: bytes | None = None) -> str:
        """Wait for a diagnostic message of ``node`` with ``part`` in it; return the message."""

        def found() -> str:
            for report in list(self.reports):
                fits = level is None or report.level == level
                if report.name == f'/{self.namespace}/{node}' and part in report.message and fits:
                    return str(report.message)
            return ''

        return self.wait_for(f'a report of {node} with {part!r}', found)

    def load_model(self, request: LoadModel.Request) -> LoadModel.Response:
        """Call the policy's load_model."""
        with self.observer.client(LoadModel, 'policy/load_model') as client:
            self.wait_for('the service load_model', client.service_is_ready)
            answer = client.call_async(request)
            self.wait_for('an answer of load_model', answer.done)
            return answer.result()

    def audit(self, since: Observation | None = None) -> TransitionAudit:
        """Audit what was seen, once transitions under way have arrived, or after `SETTLING_SEC`.

        The loop runs on meanwhile, so only the episodes that have ended by now are waited for. The
        episode of ``since`` (by default of the first transition) and earlier ones are left out of
        the losses: they began before the observer subscribed.
        """
        ended = list(self.observer.episodes)
        deadline = time.monotonic() + SETTLING_SEC
        while True:
            audit = audit_transitions(self.observer.transitions(), ended, since)
            if not audit.lost or time.monotonic() > deadline:
                return audit
            time.sleep(0.5)


def audit_transitions(
    transitions: Sequence[Transition], ended: Sequence[EpisodeSummary], since: Observation | None
) -> TransitionAudit:
    """Count lost, doubled and invalid transitions up to the end of the episodes ``ended``."""
    audit, sequence = TransitionAudit(steps=len(transitions)), TransitionSequence()
    low, high = ACTION_LIMITS
    first = since or (transitions[0] if transitions else Observation())

    def is_from_before(run_id: int, episode: int) -> bool:
        return bool(run_id == first.run_id and episode <= first.episode)

    for transition in transitions:
        action = np.asarray(transition.action)
        audit.outside += not ((low <= action) & (action <= high)).all()  # also true for NaN
        audit.safe_actions += transition.safe_action
        if not is_from_before(transition.run_id, transition.episode):
            sequence.arrive(transition.run_id, transition.episode, transition.step)
    for episode in ended:
        if not is_from_before(episode.run_id, episode.episode):
            sequence.end_episode(episode.run_id, episode.episode, episode.length)
    audit.lost, audit.doubled = sequence.lost, sequence.duplicates
    return audit
