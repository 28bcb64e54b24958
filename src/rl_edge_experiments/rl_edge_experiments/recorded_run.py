"""One run of the closed loop that is recorded, and evaluated from its bag."""

import contextlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rl_edge_bringup.child_process import ChildProcess
from rl_edge_bringup.prepare import PreparedSystem, prepare
from rl_edge_bringup.recording import BAG_FOLDER, RL_EDGE
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import find_system
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import ensure_folder
from rl_edge_core.results import write_json
from rl_edge_eval.metrics.run_metrics import NodeMetrics, RobotMetrics, RunMetrics
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_experiments.measured_run import RunFailedError
from rl_edge_experiments.observer import Observer
from rl_edge_sim.film import drawing_environment

RUN_FILE = 'run.json'
_START_TIMEOUT_SEC = 400.0
_SILENCE_SEC = 120.0
"""A slow policy is a result here, and no failure."""
_POLL_SEC = 0.1
_BUSY = 'while True: pass'

Measured = dict[str, Any]
Conditions = Callable[[RunningSystem, Measured], contextlib.AbstractContextManager[None]]
"""What holds while the policy acts; it may add to what was measured."""


@contextlib.contextmanager
def unconditionally(_: RunningSystem, __: Measured) -> Iterator[None]:
    """Change nothing."""
    yield


@dataclass(frozen=True)
class RunRequest:
    """What to run, and for how long."""

    folder: Path
    arguments: Mapping[str, str]
    """Of the system `sim`; recording and the namespace are added."""
    seconds: float = 0.0
    """From the first action on; 0 for until the simulator has run its episodes."""
    load: int = 0
    """Busy processes beside."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else the figures depend on; a run with other settings is not reused."""


@dataclass(frozen=True)
class RecordedRun:
    """A run as it was recorded."""

    bag: Path
    figures: RunMetrics
    measured: Measured
    """Among it ``begin_ns`` and ``end_ns``: while the policy acted."""

    @property
    def robot(self) -> RobotMetrics:
        """Return the metrics of the robot."""
        return self.figures.robot

    @cached_property
    def acting(self) -> RobotMetrics:
        """Return the metrics of the time during which the policy acted."""
        return self.figures.between(self.begin_ns, self.end_ns).robot

    @property
    def picture_times_ns(self) -> list[int]:
        """Return when pictures arrived while the policy acted."""
        return [int(time_ns) for time_ns in self.acting.image_times_ns]

    @property
    def begin_ns(self) -> int:
        """Return since when the policy had acted under the conditions of the run, wall time."""
        return int(self.measured['begin_ns'])

    @property
    def end_ns(self) -> int:
        """Return until when it had: the last step, or the end that was set."""
        steps = self.step_times_ns
        end_ns = int(self.measured['end_ns'])
        return min(end_ns, int(steps[-1])) if len(steps) else end_ns

    @property
    def policy_cpu_ms_per_step(self) -> float:
        """Return the policy's CPU time over the steps recorded meanwhile; NaN without a step.

        Read from outside, so that it is there also for episodes that end within a second.
        """
        times = self.step_times_ns
        until_ns = int(self.measured['policy_cpu_until_ns'])
        steps = int(((times > self.begin_ns) & (times <= until_ns)).sum())
        return 1e3 * float(self.measured['policy_cpu_sec']) / steps if steps else math.nan

    def usage_of(self, node: str) -> NodeMetrics:
        """Return what a node used while the policy acted; raise RlEdgeError without a report."""
        usage = self.acting.node(node)
        if usage.samples < 2:
            raise RlEdgeError(
                f'{self.bag} has {usage.samples} reports of {node} while the policy '
                f'acted, needs 2 (nodes report once a second): let the run take longer'
            )
        return usage

    @property
    def step_times_ns(self) -> np.ndarray:
        """Return when each transition was recorded, int64 of shape (steps,), ascending."""
        return self.robot.series.time_ns


def record_run(
    request: RunRequest, *, conditions: Conditions = unconditionally, reuse: bool = False
) -> RecordedRun:
    """Run and record a loop, or take the recording of an equal run where ``reuse`` is true.

    A former recording in the folder is removed. Raise RunFailedError when a node dies or the
    policy does not act, and what `prepare` raises.
    """
    folder = ensure_folder(request.folder)
    namespace = f'run{os.getpid()}'
    given = {
        'first_action_timeout_sec': str(_START_TIMEOUT_SEC),
        'policy_timeout_sec': str(_SILENCE_SEC),
        'log_level': 'warn',
        **request.arguments,
        'namespace': namespace,
        'record': 'true',
        'recorder': RL_EDGE,
        'output': str(folder),
    }
    prepared = prepare(find_system('sim'), given)
    settings = _settings(request, prepared)
    former = _former(folder, settings) if reuse else None
    if former is None:
        shutil.rmtree(folder / BAG_FOLDER, ignore_errors=True)
        (folder / RUN_FILE).unlink(missing_ok=True)
        prepared = prepare(find_system('sim'), given)  # anew: the bag's folder is free now
        former = _run(prepared, request, namespace=namespace, conditions=conditions)
        write_json(folder / RUN_FILE, {'settings': settings, 'measured': former})
    return _evaluated(folder / BAG_FOLDER, former)


def _settings(request: RunRequest, prepared: PreparedSystem) -> dict[str, Any]:
    return {
        'arguments': dict(request.arguments),
        'model': prepared.model.sha256 if prepared.model else '',
        'seconds': request.seconds,
        'load': request.load,
        **request.settings,
    }


def _former(folder: Path, settings: Mapping[str, Any]) -> Measured | None:
    try:
        content = json.loads((folder / RUN_FILE).read_text())
    except (OSError, ValueError):
        return None
    is_same = content.get('settings') == settings and (folder / BAG_FOLDER).is_dir()
    return dict(content['measured']) if is_same else None


def _evaluated(bag: Path, measured: Measured) -> RecordedRun:
    figures = metrics_of_bag(bag)
    if not figures.robots:
        raise RunFailedError(f'{bag} has no robot in it: {"; ".join(figures.notes)}')
    return RecordedRun(bag, figures, measured)


def _run(
    prepared: PreparedSystem, request: RunRequest, *, namespace: str, conditions: Conditions
) -> Measured:
    measured: Measured = {}
    with (
        contextlib.ExitStack() as watching,
        busy_processes(request.load),
        RunningSystem(prepared.processes, environment=drawing_environment()) as running,
    ):
        _wait_for_first_step(watching.enter_context(Observer(namespace)), running)
        watching.close()  # from here on nobody listens but the recorder
        with conditions(running, measured):
            measured['begin_ns'] = time.time_ns()
            measured |= _wait_until_over(running, request.seconds)
            measured['end_ns'] = time.time_ns()
        running.stop()
        outcome = running.wait()
        if outcome.exit_code:
            raise RunFailedError(_failure(outcome.reason, running))
    return measured


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy, each with a core's worth of work, while the block runs."""
    children = [ChildProcess([sys.executable, '-c', _BUSY], os.environ) for _ in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill_group()
            child.reap()


def _wait_for_first_step(observer: Observer, running: RunningSystem) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SEC
    while not observer.transition_count:
        if not running.is_running():
            outcome = running.wait()
            if outcome.exit_code:
                raise RunFailedError(_failure(outcome.reason, running))
            return
        if time.monotonic() > deadline:
            raise RunFailedError(_failure('the policy did not act', running))
        time.sleep(_POLL_SEC)


def _wait_until_over(running: RunningSystem, seconds: float) -> Measured:
    """Wait, and return the CPU time that the policy's process took meanwhile, and until when."""
    policy = psutil.Process(running.pid('policy'))
    before = _cpu_sec(policy)
    measured: Measured = {'policy_cpu_sec': 0.0, 'policy_cpu_until_ns': time.time_ns()}
    deadline = time.monotonic() + (seconds or math.inf)
    while running.is_running() and time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended: what it had used counts
            used = _cpu_sec(policy) - before
            measured = {'policy_cpu_sec': used, 'policy_cpu_until_ns': time.time_ns()}
        time.sleep(_POLL_SEC)
    return measured


def _cpu_sec(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _failure(reason: str, running: RunningSystem) -> str:
    last = '\n'.join(running.log.of()[-15:])
    return f'{reason}; the last lines were\n{last}'
