"""Simulator and policy on two hosts, beside the same two on one host."""

import contextlib
import dataclasses
import math
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import ModelRequest, choose_model
from rl_edge_core.artifact import pack_artifact
from rl_edge_core.files import ensure_folder, sha256_of
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.results import describe_machine, write_json
from rl_edge_experiments.experiment import Experiment
from rl_edge_experiments.fault_harness import FaultFailedError, FaultHarness
from rl_edge_experiments.network import (
    OVER_UDP,
    TwoHosts,
    environment,
    inside,
    two_hosts,
)
from rl_edge_experiments.observer import Observer
from rl_edge_experiments.transition_audit import audit_settled
from rl_edge_interfaces.srv import LoadModel

ONE_HOST, TWO_HOSTS = 'one host, shared memory', 'two hosts, UDP'
LARGEST_RATIO = 2.0
"""Of the response times on two hosts and on one that is aimed at."""
WARM_UP_STEPS = 100
CUT_SEC = 3.0
CUT_ALONE, CUT_FILE = 'cut', 'two_hosts_cut.json'
DEFAULT_DOMAIN_ID = 93


@dataclasses.dataclass(frozen=True)
class Link:
    """How fast the loop ran over one link."""

    response_us: np.ndarray
    steps_per_sec: float

    def to_mapping(self) -> dict[str, float]:
        """Return its figures."""
        p50, p99 = np.nanquantile(self.response_us, [0.5, 0.99])
        return {
            'response_us_p50': float(p50),
            'response_us_p99': float(p99),
            'steps_per_sec': self.steps_per_sec,
            'steps': len(self.response_us),
        }


@contextlib.contextmanager
def loop_on_two_hosts(
    hosts: TwoHosts,
    *,
    folder: Path,
    model: Path,
    domain_id: int,
    environment_id: str,
    mode: str,
    robots: int = 1,
) -> Iterator[list[FaultHarness]]:
    """Start ``robots`` simulators on the first host and their policies on the second."""
    with inside(hosts.first), environment(**OVER_UDP):
        loops = [
            FaultHarness(
                folder / f'robot{index}',
                model,
                mode,
                domain_id,
                OVER_UDP,
                environment_id=environment_id,
                namespace=f'ant{index}',
                policy_prefix=hosts.on_second(),
            )
            for index in range(robots)
        ]
        with contextlib.ExitStack() as started:
            for loop in loops:
                started.enter_context(loop)
            yield loops


@contextlib.contextmanager
def _loop_on_one_host(
    hosts: TwoHosts, *, folder: Path, model: Path, domain_id: int, environment_id: str
) -> Iterator[list[FaultHarness]]:
    with (
        inside(hosts.first),
        environment(ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST'),
        FaultHarness(folder, model, 'lockstep', domain_id, environment_id=environment_id) as loop,
    ):
        yield [loop]


def measure(loop: FaultHarness, steps: int) -> Link:
    """Return the response times of ``steps`` steps after a warm-up."""
    with loop.watched() as observer:
        loop.wait_for('the loop runs', lambda: observer.transition_count > WARM_UP_STEPS)
        began, first = time.monotonic(), observer.transition_count
        loop.wait_for('enough steps', lambda: observer.transition_count >= first + steps)
        rate = (observer.transition_count - first) / (time.monotonic() - began)
        transitions = observer.transitions()[first : first + steps]
    return Link(np.array([t.response_time_us for t in transitions]), rate)


def compare(hosts: TwoHosts, *, steps: int, rounds: int, **settings: Any) -> dict[str, Link]:
    """Measure one host and two in turns, so that a machine that changes disturbs both alike."""
    found: dict[str, list[Link]] = {ONE_HOST: [], TWO_HOSTS: []}
    for _ in range(rounds):
        with _loop_on_one_host(hosts, **settings) as (loop,):
            found[ONE_HOST].append(measure(loop, steps))
        with loop_on_two_hosts(hosts, mode='lockstep', **settings) as (loop,):
            found[TWO_HOSTS].append(measure(loop, steps))
    return {
        name: Link(
            np.concatenate([link.response_us for link in links]),
            float(np.mean([link.steps_per_sec for link in links])),
        )
        for name, links in found.items()
    }


def cut_the_link(loop: FaultHarness, hosts: TwoHosts) -> dict[str, Any]:
    """Cut the link in the middle of an episode and mend it: safe action, report, recovery.

    ``loop`` is a loop in real time. Raise FaultFailedError when one of them does not come.
    """
    with loop.watched() as observer:
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
        audit = audit_settled(observer)
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
            'the new model acts', lambda: loop.latest(1)[0].model_hash == answer.model_hash
        )
    return {'bytes': len(archive), 'loaded_after_sec': round(duration_sec, 2)}


def measure_robots(loops: list[FaultHarness], steps: int) -> dict[str, float]:
    """Return what ``loops``, each with its policy on the other host, reach together."""
    with contextlib.ExitStack() as stack:
        observers = [stack.enter_context(loop.watched()) for loop in loops]

        def counts() -> list[int]:
            return [observer.transition_count for observer in observers]

        loops[0].wait_for('all robots move', lambda: min(counts()) > WARM_UP_STEPS)
        before, began = counts(), time.monotonic()
        loops[0].wait_for('enough steps', lambda: sum(counts()) - sum(before) >= steps)
        elapsed, after = time.monotonic() - began, counts()
        times = [_response_us(o, *span) for o, *span in zip(observers, before, after, strict=True)]
    all_us = np.concatenate(times)
    return {
        'robots': len(loops),
        'steps_per_sec': (sum(after) - sum(before)) / elapsed,
        'response_us_p50': float(np.nanquantile(all_us, 0.5)),
        'response_us_p99': float(np.nanquantile(all_us, 0.99)),
    }


def _response_us(observer: Observer, first: int, last: int) -> np.ndarray:
    return np.array([t.response_time_us for t in observer.transitions()[first:last]])


def run_two_hosts(values: Values) -> int:
    """Measure, cut, send, and multiply; write two_hosts.json; return 0."""
    console = Console()
    folder = ensure_folder(Path(str(values['output'] or results_folder())).expanduser())
    environment_id, steps = str(values['environment_id']), int(values['steps'])
    request = ModelRequest(
        configuration='compressed', model=str(values['model']), environment_id=environment_id
    )
    model = choose_model(request)
    settings: dict[str, Any] = {
        'folder': ensure_folder(folder / 'two_hosts'),
        'model': model.folder,
        'domain_id': int(values['ros_domain_id']),
        'environment_id': environment_id,
    }
    with two_hosts() as hosts:
        with loop_on_two_hosts(hosts, mode='realtime', **settings) as (loop,):
            cut = cut_the_link(loop, hosts)
            sent = send_policy(loop, model.folder, model.recipe)
        if values['parts'] == CUT_ALONE:
            write_json(folder / CUT_FILE, {'cut': cut, 'load_model': sent})
            console.print(cut)
            return 0
        links = compare(hosts, steps=steps, rounds=int(values['rounds']), **settings)
        many = []
        for robots in (1, 2, 4):
            with loop_on_two_hosts(hosts, mode='lockstep', robots=robots, **settings) as loops:
                many.append(measure_robots(loops, steps))
    p50 = {name: link.to_mapping()['response_us_p50'] for name, link in links.items()}
    ratio = p50[TWO_HOSTS] / p50[ONE_HOST] if p50[ONE_HOST] else math.nan
    content = {
        'links': {name: link.to_mapping() for name, link in links.items()},
        'response_ratio_p50': ratio,
        'cut': cut,
        'load_model': sent,
        'robots': many,
        'model': model.to_mapping(),
        'machine': describe_machine(),
    }
    write_json(folder / 'two_hosts.json', content)
    console.print(_table(links))
    console.print(f'p50 on two hosts over one: {ratio:.2f} (aim: at most {LARGEST_RATIO:g})')
    console.print(f'link cut for {cut["cut_sec"]} s: {cut}')
    console.print(f'policy sent: {sent}')
    console.print(_robots_table(many))
    console.print(f'written: {folder / "two_hosts.json"}', soft_wrap=True)
    return 0


def _table(links: dict[str, Link]) -> Table:
    table = Table('link', 'response p50 us', 'p99 us', 'steps/s')
    for name, link in links.items():
        figures = link.to_mapping()
        cells = (figures['response_us_p50'], figures['response_us_p99'], figures['steps_per_sec'])
        table.add_row(name, *(f'{value:.0f}' for value in cells))
    return table


def _robots_table(rows: list[dict[str, float]]) -> Table:
    table = Table('robots', 'steps/s together', 'response p50 us', 'p99 us')
    for row in rows:
        cells = (row['steps_per_sec'], row['response_us_p50'], row['response_us_p99'])
        table.add_row(f'{row["robots"]:g}', *(f'{value:.0f}' for value in cells))
    return table


TWO_HOSTS_EXPERIMENT = Experiment(
    name='two_hosts',
    description='sim and policy on two hosts (network namespaces), beside one host; needs root',
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
