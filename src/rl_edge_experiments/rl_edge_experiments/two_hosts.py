"""Simulator and policy on two hosts, beside the same two on one host, and a link that is cut."""

import contextlib
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from rl_edge_bringup.models import ChosenModel
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_core.archive import pack_artifact
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import sha256_of
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.process_environment import environment_variables
from rl_edge_core.results import write_json
from rl_edge_core.ros import qos
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import decoded
from rl_edge_eval.metrics.series import Percentiles, between, ratio
from rl_edge_eval.output.columns import Column, rows_table, values_of
from rl_edge_experiments.experiment import MODEL_ARGUMENTS, OUTPUT, Experiment, begin, write_result
from rl_edge_experiments.network import OVER_UDP, TwoHosts, inside, two_hosts
from rl_edge_experiments.observer import Observer
from rl_edge_experiments.record_run import RecordedRun, RunRequest, record_run, record_runs
from rl_edge_interfaces.msg import Transition
from rl_edge_interfaces.srv import LoadModel

ONE_HOST, TWO_HOSTS = 'one host, shared memory', 'two hosts, UDP'
LARGEST_RATIO = 2.0
"""Of the response times on two hosts and on one that is aimed at."""
WARM_UP_STEPS = 100
CUT_ALONE, CUT_FILE = 'cut', 'two_hosts_cut.json'
DEFAULT_DOMAIN_ID = 93
CUT_SEC = 3.0
STEADY_STEPS = 40
"""Steps in a row by the policy's own actions that count as recovered."""
WAIT_SEC = 120.0
"""For anything that must happen; generous, since it costs nothing where all is well."""
CUT_ARGUMENTS = {
    'mode': 'realtime',
    'load_model': 'archive',
    'on_policy_timeout': 'wait',
    'policy_timeout_sec': '1.0',
}
"""Of a run that this may happen to."""


@dataclass(frozen=True)
class Loops:
    """Loops of one model on one or two hosts."""

    hosts: TwoHosts
    folder: Path
    model: ChosenModel
    environment_id: str
    domain_id: int

    def measure(self, place: str, steps: int, *, robots: int = 1) -> 'Measured':
        """Run robots in lockstep on one host, or with their policies on the second."""
        two = place == TWO_HOSTS
        variables = OVER_UDP if two else {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        requests = [
            RunRequest(
                self.folder / f'{"two_hosts" if two else "one_host"}-{robots}-{index}',
                {'environment_id': self.environment_id, 'model': str(self.model.folder)},
                steps=WARM_UP_STEPS + steps,
                policy_prefix=self.hosts.on_second() if two else (),
                variables={'ROS_DOMAIN_ID': str(self.domain_id), **variables},
            )
            for index in range(robots)
        ]
        with inside(self.hosts.first), environment_variables(variables):
            return Measured.together(record_runs(requests), steps)

    def cut(self) -> dict[str, Any]:
        """Cut the link of a loop in real time, mend it, and send a policy over it; see `LinkCut`.

        Raise RlEdgeError for transitions that are lost, doubled, or have invalid actions.
        """
        request = RunRequest(
            self.folder / 'cut',
            {
                **CUT_ARGUMENTS,
                'environment_id': self.environment_id,
                'model': str(self.model.folder),
            },
            seconds=1.0,
            policy_prefix=self.hosts.on_second(),
            variables={'ROS_DOMAIN_ID': str(self.domain_id), **OVER_UDP},
        )
        with inside(self.hosts.first), environment_variables(OVER_UDP):
            run = record_run(request, conditions=LinkCut(self.hosts, self.model))
        lost, doubled = run.robot.lost_transitions, run.robot.duplicate_transitions
        transitions = decoded(Bag(run.bag), lambda topic: topic.name.endswith('/transition'))
        actions = np.array([message.action for _, _, message in transitions])
        limits = load_manifest(self.model.folder).environment
        valid = ((limits.action_low <= actions) & (actions <= limits.action_high)).all(axis=1)
        if lost or doubled or not valid.all():  # an action that is NaN is not valid either
            raise RlEdgeError(
                f'after the cut: {lost} transitions lost, {doubled} doubled, '
                f'{np.sum(~valid)} with an action outside its limits'
            )
        safe_actions = run.robot.actions.safe
        cut = {**run.conditions['cut'], 'safe_actions': safe_actions, 'lost_transitions': lost}
        return {'cut': cut, 'load_model': run.conditions['load_model']}


@dataclass(frozen=True)
class Measured:
    """How fast one or more loops ran over a link, after a warm-up."""

    response_us: np.ndarray
    steps_per_sec: float

    @classmethod
    def together(cls, runs: Sequence[RecordedRun], steps: int) -> 'Measured':
        """Return what loops reached side by side, until each had made ``steps`` steps."""
        acting = [run.robot.series[run.steps_before :] for run in runs]
        begin_ns = max(one.time_ns[WARM_UP_STEPS] for one in acting)
        end_ns = max(one.time_ns[WARM_UP_STEPS + steps - 1] for one in acting)
        series = [between(one, begin_ns, end_ns) for one in acting]
        intervals = sum(len(one) for one in series) - len(series)
        return cls(
            np.concatenate([one.response_us for one in series]),
            ratio(intervals, (end_ns - begin_ns) * 1e-9),
        )

    @property
    def percentiles(self) -> Percentiles:
        """Return the order statistics of the response times."""
        return Percentiles.of(self.response_us)


def run_two_hosts(values: Values) -> None:
    """Measure, cut, send, and multiply; write two_hosts.json."""
    console, folder, model, values = begin(values)
    with two_hosts() as hosts:
        loops = Loops(
            hosts,
            folder / 'two_hosts',
            model,
            str(values['environment_id']),
            int(values['ros_domain_id']),
        )
        found = loops.cut()
        if values['parts'] == CUT_ALONE:
            write_json(folder / CUT_FILE, found)
            console.print(found['cut'])
            return
        links, many = _measure_links(loops, int(values['steps']), rounds=int(values['rounds']))
    slower = ratio(links[TWO_HOSTS].percentiles.p50, links[ONE_HOST].percentiles.p50)
    content = {
        'links': {
            place: {**measured, 'steps': len(links[place].response_us)}
            for place, measured in values_of(links, COLUMNS).items()
        },
        'response_ratio_p50': slower,
        **found,
        'robots': [
            {'robots': robots, **measured} for robots, measured in values_of(many, COLUMNS).items()
        ],
    }
    write_result(folder / 'two_hosts.json', content, model)
    console.print(rows_table(list(links.values()), COLUMNS, names=list(links)))
    console.print(f'p50 on two hosts over one: {slower:.2f} (aim: at most {LARGEST_RATIO:g})')
    console.print(f'link cut for {found["cut"]["cut_sec"]} s: {found["cut"]}')
    console.print(f'policy sent: {found["load_model"]}')
    names = [f'two hosts, robots together: {robots}' for robots in many]
    console.print(rows_table(list(many.values()), COLUMNS, names=names))
    console.print(f'wrote {folder / "two_hosts.json"}', soft_wrap=True)


def _measure_links(
    loops: Loops, steps: int, *, rounds: int
) -> tuple[dict[str, Measured], dict[int, Measured]]:
    """Measure one host and two, and one, two and four robots together on two hosts."""
    found: dict[str, list[Measured]] = {ONE_HOST: [], TWO_HOSTS: []}
    for _ in range(rounds):  # in turns, so that a machine that changes disturbs both alike
        for place, measured in found.items():
            measured.append(loops.measure(place, steps))
    links = {
        place: Measured(
            np.concatenate([one.response_us for one in measured]),
            float(np.mean([one.steps_per_sec for one in measured])),
        )
        for place, measured in found.items()
    }
    more = {n: loops.measure(TWO_HOSTS, steps // n, robots=n) for n in (2, 4)}
    return links, {1: links[TWO_HOSTS], **more}


class LinkCut:
    """Conditions of a run: cut the link in the middle of an episode, mend it, send a policy."""

    def __init__(self, hosts: TwoHosts, model: ChosenModel) -> None:
        """Prepare; ``model`` is sent once the loop has recovered."""
        self._hosts, self._model = hosts, model
        self._observer: Observer
        self._steps: list[tuple[float, Transition]] = []
        """With their times of arrival, steady clock in s."""
        self._reports: list[DiagnosticStatus] = []

    @contextlib.contextmanager
    def __call__(self, _: RunningSystem, observer: Observer) -> Iterator[dict[str, Any]]:
        """Yield what was measured; raise RlEdgeError for what was expected and did not come."""
        self._observer = observer
        steps = observer.subscribed(
            Transition,
            'transition',
            lambda message: self._steps.append((time.monotonic(), message)),
            qos.transition(),
        )
        reports = observer.subscribed(
            DiagnosticArray, '/diagnostics', lambda m: self._reports.extend(m.status), 50
        )
        with steps, reports:
            yield {'cut': self._cut(), 'load_model': self._send()}

    def _cut(self) -> dict[str, Any]:
        """Cut the link and mend it: safe action, report, recovery."""
        self._wait_until_steady('the loop runs before the cut')
        self._reports.clear()
        began = time.monotonic()
        self._hosts.cut()
        try:
            safe = self._wait_for(
                'the safe action',
                lambda: [sec for sec, step in self._steps if step.safe_action and sec > began],
            )
            report = self._wait_for('a report of the safe action', self._safety_report)
            self._wait_for('the time of the cut', lambda: time.monotonic() - began > CUT_SEC)
        finally:
            self._hosts.mend()
        mended = time.monotonic()
        recovered = self._wait_until_steady('the loop runs after the cut')
        return {
            'cut_sec': round(mended - began, 2),
            'safe_action_after_sec': round(safe[0] - began, 2),
            'report': report,
            'recovered_after_sec': round(recovered - mended, 2),
        }

    def _send(self) -> dict[str, Any]:
        """Send an artifact to the policy on the other host and let it act there."""
        archive = pack_artifact(self._model.folder, [self._model.recipe])
        request = LoadModel.Request(archive=array('B', archive), sha256=sha256_of(archive))
        began = time.monotonic()
        with self._observer.client(LoadModel, 'policy/load_model') as client:
            self._wait_for('the service load_model', client.service_is_ready)
            future = client.call_async(request)
            self._wait_for('an answer of load_model', future.done)
        duration_sec = time.monotonic() - began
        answer = future.result()
        if not answer.success:
            raise RlEdgeError(f'refused on the other host: {answer.message}')
        self._wait_for(
            'the new model acts', lambda: self._steps[-1][1].model_hash == answer.model_hash
        )
        return {'bytes': len(archive), 'loaded_after_sec': round(duration_sec, 2)}

    def _safety_report(self) -> str:
        said = [one.message for one in list(self._reports) if one.name.endswith('/sim')]
        return next((text for text in said if 'safe action is applied' in text), '')

    def _wait_until_steady(self, what: str) -> float:
        """Return when the last of `STEADY_STEPS` from now on came, all by the policy's actions."""
        enough = len(self._steps) + STEADY_STEPS

        def latest() -> list[tuple[float, Transition]]:
            latest = self._steps[-STEADY_STEPS:]
            own = all(step.model_hash and not step.safe_action for _, step in latest)
            return latest if own and len(self._steps) >= enough else []

        return float(self._wait_for(what, latest)[-1][0])

    def _wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
        try:
            return self._observer.wait_for(condition, WAIT_SEC)
        except TimeoutError as error:
            raise RlEdgeError(f'{what}: did not happen within {WAIT_SEC:g} s') from error


COLUMNS: tuple[Column[Measured], ...] = (
    Column('response p50', 'us', lambda one: one.percentiles.p50, '', 0, 'response_us_p50'),
    Column('response p99', 'us', lambda one: one.percentiles.p99, '', 0, 'response_us_p99'),
    Column('steps', '1/s', lambda one: one.steps_per_sec, '', 0, 'steps_per_sec'),
)

EXPERIMENT = Experiment(
    arguments=(
        *MODEL_ARGUMENTS,
        Setting('parts', 'all', 'all, or only the cut of the link', choices=('all', CUT_ALONE)),
        Setting('steps', 2000, 'steps of each measurement', minimum=10),
        Setting('rounds', 2, 'times that one host and two are measured in turn', minimum=1),
        Setting('ros_domain_id', DEFAULT_DOMAIN_ID, 'ROS domain of the loops', minimum=0),
        OUTPUT,
    ),
    run=run_two_hosts,
)
