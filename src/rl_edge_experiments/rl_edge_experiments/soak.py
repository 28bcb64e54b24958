"""Run the compressed loop with recording for long, and fit what grows."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import ModelRequest, choose_model
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ensure_folder
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.resources import sample_resources
from rl_edge_core.results import describe_machine, write_json
from rl_edge_core.ros import qos
from rl_edge_experiments.experiment import Experiment
from rl_edge_experiments.fault_harness import FaultHarness
from rl_edge_interfaces.msg import Transition

DEFAULT_DOMAIN_ID = 94
SAMPLES = 200
"""Samples of each process after the warm-up, at most."""
SHORTEST_PERIOD_SEC = 1.0
WARM_UP_SHARE = 0.2
LARGEST_MEMORY_SLOPE = 1.0
"""In percent an hour; what is aimed at."""
SHARED_MEMORY = Path('/dev/shm')
_SHARED_MEMORY_NAMES = ('fastrtps_*', 'fastdds_*', 'sem.fastrtps_*', 'sem.fastdds_*')


@dataclass(frozen=True)
class Slope:
    """A straight line through samples of one figure, by least squares."""

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
    figures = np.asarray(values, np.float64)
    if figures.shape != hours.shape or figures.size < 3:
        raise ConfigurationError(f'{figures.size} samples at {hours.size} times: needs 3 or more')
    centred = hours - hours.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        raise ConfigurationError('all samples are of one time: no slope can be fitted')
    mean = float(figures.mean())
    slope = float(centred @ (figures - mean)) / spread
    residuals = figures - mean - slope * centred
    error = float(np.sqrt(residuals @ residuals / (figures.size - 2) / spread))
    scale = 100.0 / mean if mean else float('nan')
    return Slope(
        mean,
        slope,
        slope * scale,
        (slope - 1.96 * error) * scale,
        (slope + 1.96 * error) * scale,
        int(figures.size),
    )


def shared_memory_files() -> int:
    """Count the files of Fast DDS in shared memory, of all processes of this machine."""
    return sum(1 for name in _SHARED_MEMORY_NAMES for _ in SHARED_MEMORY.glob(name))


def orphaned_shared_memory_files() -> int:
    """Count those that no process has open or mapped: killed processes have left them."""
    used: set[str] = set()
    for process in psutil.process_iter():
        try:
            used |= {mapping.path for mapping in process.memory_maps(grouped=True)}
            used |= {file.path for file in process.open_files()}
        except (psutil.Error, OSError):
            continue
    files = {str(path) for name in _SHARED_MEMORY_NAMES for path in SHARED_MEMORY.glob(name)}
    return len(files - used)


class ResponseTimes:
    """Keep the response times since they were last taken, so that memory stays bounded."""

    def __init__(self) -> None:
        """Start empty."""
        self._times_us: list[float] = []
        self.steps = 0

    def add(self, transition: Transition) -> None:
        """Take note of one step."""
        self.steps += 1
        self._times_us.append(transition.response_time_us)

    def take_median_us(self) -> float:
        """Return the median since the last call; NaN when there was no step."""
        times_us, self._times_us = self._times_us, []
        return float(np.nanmedian(times_us)) if times_us else float('nan')


def run_soak(values: Values) -> int:
    """Run, sample, fit, write soak.json; return 0."""
    console = Console()
    folder = ensure_folder(Path(str(values['output'] or results_folder())).expanduser())
    environment_id = str(values['environment_id'])
    request = ModelRequest(
        configuration='compressed', model=str(values['model']), environment_id=environment_id
    )
    model = choose_model(request)
    domain_id = int(values['ros_domain_id'])
    minutes = float(values['minutes'])
    harness = FaultHarness(
        ensure_folder(folder / 'soak'),
        model.folder,
        str(values['mode']),
        domain_id,
        environment_id=environment_id,
    )
    before = shared_memory_files(), orphaned_shared_memory_files()
    with harness as loop:
        bag = loop.folder / f'bag-{time.strftime("%Y%m%d-%H%M%S")}'
        recorder = loop.start_recorder(bag)
        samples, steps = _sample(loop, recorder, minutes=minutes)
    after = shared_memory_files(), orphaned_shared_memory_files()
    slopes = slopes_of(samples)
    content = {
        'minutes': minutes,
        'mode': values['mode'],
        'environment_id': environment_id,
        'model': model.to_mapping(),
        'steps': steps,
        'warm_up_share': WARM_UP_SHARE,
        'slopes': {name: asdict(slope) for name, slope in slopes.items()},
        'shared_memory_files': {'before': before[0], 'after': after[0]},
        'orphaned_shared_memory_files': {'before': before[1], 'after': after[1]},
        'bag_mb': sum(file.stat().st_size for file in bag.glob('*')) / 1e6,
        'machine': describe_machine(),
    }
    write_json(folder / 'soak.json', content)
    console.print(_table(slopes))
    console.print(
        f'{steps} steps; shared-memory files before and after: {before[0]}, {after[0]}, of these '
        f'left by killed processes: {before[1]}, {after[1]}'
    )
    console.print(f'written: {folder / "soak.json"}', soft_wrap=True)
    return 0


def _sample(
    loop: FaultHarness, recorder: RunningSystem, *, minutes: float
) -> tuple[list[dict[str, float]], int]:
    nodes = (('sim', loop.simulator), ('policy', loop.policy), ('recorder', recorder))
    times = ResponseTimes()
    period_sec = max(SHORTEST_PERIOD_SEC, minutes * 60.0 / SAMPLES)
    samples: list[dict[str, float]] = []
    with (
        loop.watched(transitions=False) as observer,
        observer.subscribed(Transition, 'transition', times.add, qos.transition()),
    ):
        loop.wait_for('the loop runs', lambda: times.steps > 0)
        processes = {name: psutil.Process(system.pid(name)) for name, system in nodes}
        began = time.monotonic()
        for index in track(range(int(minutes * 60.0 / period_sec)), 'soaking'):
            time.sleep(max(0.0, began + (index + 1) * period_sec - time.monotonic()))
            sample = {'time_sec': time.monotonic() - began}
            sample['response_us'] = times.take_median_us()
            for name, process in processes.items():
                found = sample_resources(process)
                sample[f'{name}_unique_memory_mb'] = found.unique_memory_mb
                sample[f'{name}_resident_memory_mb'] = found.resident_memory_mb
                sample[f'{name}_threads'] = found.threads
                sample[f'{name}_open_files'] = found.open_files
            samples.append(sample)
    return samples, times.steps


def slopes_of(samples: Sequence[dict[str, float]]) -> dict[str, Slope]:
    """Fit each figure over time, after the first `WARM_UP_SHARE` of ``samples``."""
    kept = samples[int(len(samples) * WARM_UP_SHARE) :]
    names = [name for name in kept[0] if name != 'time_sec']
    slopes = {}
    for name in names:
        pairs = [(s['time_sec'], s[name]) for s in kept if np.isfinite(s[name])]
        if len(pairs) > 2:
            slopes[name] = fit_slope(*zip(*pairs, strict=True))
    return slopes


def _table(slopes: dict[str, Slope]) -> Table:
    table = Table('figure', 'mean', 'change an hour', '%', '95 % interval, %')
    for name, slope in slopes.items():
        bounds = f'{slope.low_percent_per_hour:.2f} to {slope.high_percent_per_hour:.2f}'
        percent = f'{slope.percent_per_hour:.2f}'
        table.add_row(name, f'{slope.mean:.1f}', f'{slope.per_hour:.3f}', percent, bounds)
    return table


SOAK = Experiment(
    name='soak',
    description='the compressed loop with recording for long: what grows, by how much an hour',
    arguments=(
        Setting('minutes', 30.0, 'how long', minimum=0.1),
        Setting('mode', 'realtime', 'mode of the loop', choices=('realtime', 'lockstep')),
        Setting('environment_id', 'Ant-v5', 'Gymnasium environment'),
        Setting('model', '', 'artifact; empty for the default one'),
        Setting('ros_domain_id', DEFAULT_DOMAIN_ID, 'ROS domain of the loop', minimum=0),
        Setting('output', '', 'folder for the results; empty for results/'),
    ),
    run=run_soak,
)
