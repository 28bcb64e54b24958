"""Simulator and policy on two hosts, beside the same two on one host."""

import contextlib
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_bringup.models import ChosenModel
from rl_edge_core.artifact import pack_artifact
from rl_edge_core.files import sha256_of
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.results import describe_machine, write_json
from rl_edge_eval.metrics.series import Percentiles, between, ratio
from rl_edge_eval.output.columns import Column, make_console, rows_table, values_of
from rl_edge_experiments.experiment import COMPRESSED, Experiment, choose, output_folder
from rl_edge_experiments.fault_harness import FaultFailedError, FaultHarness
from rl_edge_experiments.network import OVER_UDP, TwoHosts, environment, inside, two_hosts
from rl_edge_experiments.record_run import RecordedRun, RunRequest, record_runs
from rl_edge_interfaces.srv import LoadModel

ONE_HOST, TWO_HOSTS = 'one host, shared memory', 'two hosts, UDP'
LARGEST_RATIO = 2.0
"""Of the response times on two hosts and on one that is aimed at."""
WARM_UP_STEPS = 100
CUT_SEC = 3.0
CUT_ALONE, CUT_FILE = 'cut', 'two_hosts_cut.json'
DEFAULT_DOMAIN_ID = 93


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
        with inside(self.hosts.first), environment(**variables):
            return Measured.together(record_runs(requests), steps)

    @contextlib.contextmanager
    def harness(self) -> Iterator[FaultHarness]:
        """Start a loop in real time with its policy on the second host."""
        loop = FaultHarness(
            self.folder / 'cut',
            self.model.folder,
            'realtime',
            self.domain_id,
            OVER_UDP,
            environment_id=self.environment_id,
            policy_prefix=self.hosts.on_second(),
        )
        with inside(self.hosts.first), environment(**OVER_UDP), loop:
            yield loop


@dataclass(frozen=True)
class Measured:
    """How fast one or more loops ran over a link, after a warm-up."""

    response_us: np.ndarray
    steps_per_sec: float

    @classmethod
    def together(cls, runs: Sequence[RecordedRun], steps: int) -> 'Measured':
        """Return what loops reached side by side, until each had made ``steps`` steps."""
        acting = [run.robot.series[run.robot.series.time_ns >= run.begin_ns] for run in runs]
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


def cut_the_link(loop: FaultHarness, hosts: TwoHosts) -> dict[str, Any]:
    """Cut the link in the middle of an episode and mend it: safe action, report, recovery.

    ``loop`` is a loop in real time. Raise FaultFailedError when one of them does not come.
    """
    with loop.watched():
        loop.wait_until_steady('the loop runs before the cut')
        loop.reports.clear()
        processes = loop.simulator.pid('sim'), loop.policy.pid('policy')
        began = time.monotonic()
        hosts.cut()
        try:
            loop.wait_for('the safe action', lambda: any(t.safe_action for t in loop.latest(3)))
            safe_after_sec = time.monotonic() - began
            report = loop.wait_for_report('sim', 'safe action stands in')
            loop.wait_for('the time of the cut', lambda: time.monotonic() - began > CUT_SEC)
        finally:
            hosts.mend()
        mended = time.monotonic()
        loop.wait_until_steady('the loop runs after the cut')
        recovered_after_sec = time.monotonic() - mended
        audit = loop.audit()
    if processes != (loop.simulator.pid('sim'), loop.policy.pid('policy')):
        raise FaultFailedError(f'a node was started again: {loop.simulator.log.of("run")}')
    if audit.outside or audit.doubled or audit.lost:
        raise FaultFailedError(f'after the cut: {audit}')
    return {
        'cut_sec': round(mended - began, 2),
        'safe_action_after_sec': round(safe_after_sec, 2),
        'report': report,
        'recovered_after_sec': round(recovered_after_sec, 2),
        'safe_actions': audit.safe_actions,
        'lost_transitions': audit.lost,
    }


def send_policy(loop: FaultHarness, model: Path, recipe: str) -> dict[str, Any]:
    """Send an artifact to the policy on the other host and let it act there."""
    archive = pack_artifact(model, [recipe])
    request = LoadModel.Request(archive=array('B', archive), sha256=sha256_of(archive))
    with loop.watched():
        loop.wait_until_steady()
        began = time.monotonic()
        answer = loop.load_model(request)
        duration_sec = time.monotonic() - began
        if not answer.success:
            raise FaultFailedError(f'refused on the other host: {answer.message}')
        loop.wait_for(
            'the new model acts',
            lambda: loop.latest(1)[0].model_hash == answer.model_hash,
        )
    return {'bytes': len(archive), 'loaded_after_sec': round(duration_sec, 2)}


def run_two_hosts(values: Values) -> int:
    """Measure, cut, send, and multiply; write two_hosts.json; return 0."""
    console = make_console(data_on_stdout=False)
    folder = output_folder(values)
    model, steps = choose(COMPRESSED, values), int(values['steps'])
    with two_hosts() as hosts:
        loops = Loops(
            hosts,
            folder / 'two_hosts',
            model,
            str(values['environment_id']),
            int(values['ros_domain_id']),
        )
        with loops.harness() as loop:
            cut = cut_the_link(loop, hosts)
            sent = send_policy(loop, model.folder, model.recipe)
        if values['parts'] == CUT_ALONE:
            write_json(folder / CUT_FILE, {'cut': cut, 'load_model': sent})
            console.print(cut)
            return 0
        links, many = _measure_links(loops, steps, rounds=int(values['rounds']))
    slower = ratio(links[TWO_HOSTS].percentiles.p50, links[ONE_HOST].percentiles.p50)
    content = {
        'links': {
            place: {**values, 'steps': len(links[place].response_us)}
            for place, values in values_of(links, COLUMNS).items()
        },
        'response_ratio_p50': slower,
        'cut': cut,
        'load_model': sent,
        'robots': [
            {'robots': robots, **values} for robots, values in values_of(many, COLUMNS).items()
        ],
        'model': model.to_mapping(),
        'machine': describe_machine(),
    }
    write_json(folder / 'two_hosts.json', content)
    console.print(rows_table(list(links.values()), COLUMNS, names=list(links)))
    console.print(f'p50 on two hosts over one: {slower:.2f} (aim: at most {LARGEST_RATIO:g})')
    console.print(f'link cut for {cut["cut_sec"]} s: {cut}')
    console.print(f'policy sent: {sent}')
    names = [f'two hosts, robots together: {robots}' for robots in many]
    console.print(rows_table(list(many.values()), COLUMNS, names=names))
    console.print(f'written: {folder / "two_hosts.json"}', soft_wrap=True)
    return 0


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
    robots = (1, 2, 4)
    return links, {n: loops.measure(TWO_HOSTS, steps // n, robots=n) for n in robots}


COLUMNS: tuple[Column[Measured], ...] = (
    Column('response p50', 'us', lambda one: one.percentiles.p50, '', 0, 'response_us_p50'),
    Column('response p99', 'us', lambda one: one.percentiles.p99, '', 0, 'response_us_p99'),
    Column('steps', '1/s', lambda one: one.steps_per_sec, '', 0, 'steps_per_sec'),
)

EXPERIMENT = Experiment(
    arguments=(
        Setting('environment_id', 'Ant-v5', 'Gymnasium environment'),
        Setting('model', '', 'artifact; empty for the default one'),
        Setting('parts', 'all', 'all, or only the cut of the link', choices=('all', CUT_ALONE)),
        Setting('steps', 2000, 'steps of each measurement', minimum=10),
        Setting('rounds', 2, 'times that one host and two are measured in turn', minimum=1),
        Setting('ros_domain_id', DEFAULT_DOMAIN_ID, 'ROS domain of the loops', minimum=0),
        Setting('output', '', 'folder for the results; empty for results/'),
    ),
    run=run_two_hosts,
)
