"""Run the compressed loop with recording for long, and fit what grows."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.wording import counted
from rl_edge_eval.metrics.run_metrics import RobotMetrics
from rl_edge_eval.output.columns import Column, rows_table
from rl_edge_experiments.experiment import MODEL_ARGUMENTS, OUTPUT, Experiment, begin, write_result
from rl_edge_experiments.record_run import RunRequest, record_run

DEFAULT_DOMAIN_ID = 94
WINDOWS = 200
"""Windows of time after the warm-up, at most, that slopes are fitted over."""
SHORTEST_WINDOW_SEC = 1.0
WARM_UP_SHARE = 0.2
SHARED_MEMORY = Path('/dev/shm')
_SHARED_MEMORY_NAMES = ('fastrtps_*', 'fastdds_*', 'sem.fastrtps_*', 'sem.fastdds_*')


@dataclass(frozen=True)
class Slope:
    """A straight line through samples of one value, by least squares."""

    mean: float
    per_hour: float
    percent_per_hour: float
    low_percent_per_hour: float
    """Bounds of its 95 % interval; wide when the run was short."""
    high_percent_per_hour: float
    samples: int


def fit_slope(times_sec: Sequence[float], values: Sequence[float]) -> Slope:
    """Fit ``values`` over ``times_sec``, both of shape (n,), n at least 3.

    The interval takes neighbouring samples for independent, which they are not quite.
    """
    hours = np.asarray(times_sec, np.float64) / 3600.0
    samples = np.asarray(values, np.float64)
    if samples.shape != hours.shape or samples.size < 3 or np.ptp(hours) == 0.0:
        raise ConfigurationError(
            f'{samples.size} samples at {len(set(hours))} times: needs 3 or more'
        )
    mean = float(samples.mean())
    (slope, _), covariance = np.polyfit(hours - hours.mean(), samples - mean, 1, cov=True)
    margin = 1.96 * float(np.sqrt(covariance[0, 0]))
    scale = 100.0 / mean if mean else float('nan')
    return Slope(
        mean,
        float(slope),
        float(slope) * scale,
        (float(slope) - margin) * scale,
        (float(slope) + margin) * scale,
        int(samples.size),
    )


Samples = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Times in s and values, by name."""


def samples_of(robot: RobotMetrics) -> Samples:
    """Return what a run has over time: response times, and what its nodes used."""
    steps = robot.series
    samples = {'response_us': (steps.time_ns * 1e-9, steps.response_us)}
    for node in ('sim', 'policy', 'recorder'):
        reports = robot.node(node).reports
        for name in ('unique_memory_mb', 'resident_memory_mb', 'threads', 'open_files'):
            samples[f'{node}_{name}'] = (reports.time_ns * 1e-9, reports[name])
    return samples


def slopes_of(samples: Samples) -> dict[str, Slope]:
    """Fit each value over time, after the first `WARM_UP_SHARE` of the run.

    Fitted are medians over windows of equal length, so that neither the number of steps nor a
    single slow one decides.
    """
    begin = min(times.min() for times, _ in samples.values() if times.size)
    end = max(times.max() for times, _ in samples.values() if times.size)
    begin += WARM_UP_SHARE * (end - begin)
    count = max(1, min(WINDOWS, int((end - begin) / SHORTEST_WINDOW_SEC)))
    edges = np.linspace(begin, end, count + 1)
    slopes = {}
    for name, (times, values) in samples.items():
        window = np.searchsorted(edges, times, side='right')
        medians = [
            (float(edges[index]), float(np.median(inside)))
            for index in range(1, count + 1)
            if (inside := values[(window == index) & np.isfinite(values)]).size
        ]
        if len(medians) > 2:
            slopes[name] = fit_slope(*zip(*medians, strict=True))
    return slopes


def shared_memory_files() -> tuple[int, int]:
    """Count the files of Fast DDS in shared memory, of all processes of this machine.

    And those of them that no process has open or mapped: killed processes have left them.
    """
    used: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            used |= {mapping.path for mapping in process.memory_maps(grouped=True)}
            used |= {file.path for file in process.open_files()}
    files = {str(path) for name in _SHARED_MEMORY_NAMES for path in SHARED_MEMORY.glob(name)}
    return len(files), len(files - used)


def run_soak(values: Values) -> None:
    """Run, fit, write soak.json."""
    console, folder, model, values = begin(values)
    minutes, mode = float(values['minutes']), str(values['mode'])
    request = RunRequest(
        folder / 'soak',
        {
            'environment_id': str(values['environment_id']),
            'model': str(model.folder),
            'mode': mode,
            'on_policy_timeout': 'wait',
        },
        seconds=60.0 * minutes,
        variables={'ROS_DOMAIN_ID': str(values['ros_domain_id'])},
    )
    before = shared_memory_files()
    with console.status(f'soaking for {minutes:g} min'):
        run = record_run(request)
    after = shared_memory_files()
    slopes = slopes_of(samples_of(run.acting))
    content = {
        'minutes': minutes,
        'mode': mode,
        'environment_id': values['environment_id'],
        'steps': run.acting.transitions,
        'warm_up_share': WARM_UP_SHARE,
        'slopes': slopes,
        'shared_memory_files': {'before': before[0], 'after': after[0]},
        'orphaned_shared_memory_files': {'before': before[1], 'after': after[1]},
        'bag_mb': sum(file.stat().st_size for file in run.bag.glob('*')) / 1e6,
    }
    write_result(folder / 'soak.json', content, model)
    console.print(rows_table(list(slopes.values()), COLUMNS, names=list(slopes)))
    console.print(
        f'{counted(run.acting.transitions, "step")}; shared-memory files before and after: '
        f'{before[0]}, {after[0]}, of these left by killed processes: {before[1]}, {after[1]}'
    )
    console.print(f'wrote {folder / "soak.json"}', soft_wrap=True)


COLUMNS: tuple[Column[Slope], ...] = (
    Column('mean', '', lambda slope: slope.mean, digits=1),
    Column('change', 'per hour', lambda slope: slope.per_hour, digits=3),
    Column('change', '% per hour', lambda slope: slope.percent_per_hour, digits=2),
    Column('95 % interval from', '%', lambda slope: slope.low_percent_per_hour, digits=2),
    Column('to', '%', lambda slope: slope.high_percent_per_hour, digits=2),
)

EXPERIMENT = Experiment(
    arguments=(
        Setting('minutes', 30.0, 'how long', minimum=0.1),
        Setting('mode', 'realtime', 'mode of the loop', choices=('realtime', 'lockstep')),
        *MODEL_ARGUMENTS,
        Setting('ros_domain_id', DEFAULT_DOMAIN_ID, 'ROS domain of the loop', minimum=0),
        OUTPUT,
    ),
    run=run_soak,
)
