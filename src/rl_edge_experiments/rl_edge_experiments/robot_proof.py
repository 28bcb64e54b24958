"""A policy over a robot's standard topics against the same policy over our own, in real time."""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from gymnasium.envs.mujoco import MujocoEnv

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ensure_folder
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.statistics import Interval, kept_interval
from rl_edge_core.wording import counted
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import decoded
from rl_edge_eval.bag.messages import BagTopic
from rl_edge_eval.metrics.series import Percentiles
from rl_edge_eval.output.columns import Column, comparison_table
from rl_edge_eval.recorded_steps import RecordedSteps, Step
from rl_edge_experiments.experiment import MODEL_ARGUMENTS, OUTPUT, Experiment, begin, write_result
from rl_edge_experiments.record_run import RecordedRun, RunRequest, record_run, record_runs
from rl_edge_robot.description import find_description, load_description
from rl_edge_sim.environment import environment_of

NATIVE, STANDARD = 'own messages', 'standard topics'
FAST_PERIOD_SEC = 0.02
"""Of the run that measures how regular ticks are."""
_RECORDED = 'default, control_timing, odometry, commands, /diagnostics'
_SAME_STEP = 1e-3
"""Relative error below which an action explains a step. That action leads to within 1e-6 of it,
the action of the step before to 4e-3 at the very least (1,000 steps of Ant-v5)."""


Found = Mapping[str, Any]
"""What runs came to, by its keys in robot_proof.json."""


def read_interface(runs: Sequence[RecordedRun]) -> Found:
    """Return what the runs over one interface came to, from their bags."""
    robots = [run.robot for run in runs]
    episodes = [episode for robot in robots for episode in robot.counted]
    nodes = [node.node.rpartition('/')[2] for node in robots[0].nodes]
    response = Percentiles.of(np.concatenate([robot.series.response_us for robot in robots]))
    has_robot = 'robot' in nodes
    checked = [unexplained_steps(run.bag) for run in runs]
    return {
        'returns': {episode.seed or 0: episode.episode_return for episode in episodes},
        'ended_early': sum(robot.falls for robot in robots),
        'distance_m': float(np.mean([episode.forward_distance_m for episode in episodes])),
        # Observation published to action received, where observations are made.
        'response_us': response,
        # State published to what answers it received, at the simulator.
        'at_simulator_us': _at_simulator(runs) if has_robot else response,
        # p50 and p99 of what the robot node adds itself.
        'added_us': _added(runs) if has_robot else (math.nan, math.nan),
        'missed_share': float(np.mean([robot.missed_share for robot in robots])),
        'steps': sum(steps for steps, _ in checked),
        'unexplained_steps': sum(unexplained for _, unexplained in checked),
        'cpu_percent': {
            name: float(np.mean([robot.node(name).cpu_percent_mean for robot in robots]))
            for name in nodes
        },
        'memory_mb': {
            name: max(robot.node(name).peak_memory_mb for robot in robots) for name in nodes
        },
    }


def unexplained_steps(bag: Path) -> tuple[int, int]:
    """Return how many answered steps of a bag were checked, and how many are not explained.

    A step is explained when simulating it anew, from the recorded observation with the recorded
    action, leads to the next observation. Where a command came late, the robot was still moved by
    the one before. Needs an environment that observes all of its state but where it is, such as
    Ant-v5; for others nothing is checked.
    """
    steps = RecordedSteps(bag, None)
    env = environment_of(steps.spec)
    parts = getattr(env.unwrapped, 'observation_structure', {})
    size = parts.get('qpos', 0) + parts.get('qvel', 0)
    model = getattr(env.unwrapped, 'model', None)
    if model is None or size + parts.get('skipped_qpos', 0) != model.nq + model.nv:
        return 0, 0
    simulation = cast(MujocoEnv, env.unwrapped)
    unseen = np.zeros(model.nq + model.nv - size)
    env.reset(seed=0)
    checked = unexplained = 0
    before: Step | None = None
    for step in steps:
        # The first observation of an episode has a quaternion that is not normalised.
        if (
            before is not None
            and (before.episode, before.step + 1) == (step.episode, step.step)
            and before.step
            and np.isfinite(before.action).all()
        ):
            seen, after = (one.observation[:size].astype(np.float64) for one in (before, step))
            state = np.concatenate([unseen, seen])
            simulation.set_state(state[: model.nq], state[model.nq :])
            simulation.data.qacc_warmstart[:] = 0.0
            simulation.do_simulation(before.action, simulation.frame_skip)
            reached = np.concatenate([simulation.data.qpos, simulation.data.qvel])[len(unseen) :]
            checked += 1
            error = np.linalg.norm(reached - after)
            unexplained += error > _SAME_STEP * np.linalg.norm(after - seen)
        before = step
    env.close()
    return checked, int(unexplained)


def _at_simulator(runs: Sequence[RecordedRun]) -> Percentiles:
    """Return the times from a state of the robot to the first command after it."""
    times_us = []
    for run in runs:
        shown_ns = 0
        for topic, time_ns, _ in decoded(Bag(run.bag), _named('odometry', 'commands')):
            if topic.name.endswith('odometry'):
                shown_ns = time_ns
            elif shown_ns and run.begin_ns < time_ns < run.end_ns:
                times_us.append((time_ns - shown_ns) * 1e-3)
                shown_ns = 0
    return Percentiles.of(times_us)


def _added(runs: Sequence[RecordedRun]) -> tuple[float, float]:
    """Return the medians over the reports of p50 and p99 of what the robot node adds, in us."""
    found: list[tuple[float, float]] = []
    for run in runs:
        for _, _, message in decoded(Bag(run.bag), _named('diagnostics')):
            for status in message.status:
                values = {each.key: each.value for each in status.values}
                if 'added_us_p50' in values:
                    found.append((float(values['added_us_p50']), float(values['added_us_p99'])))
    p50, p99 = np.median(found, axis=0) if found else (math.nan, math.nan)
    return float(p50), float(p99)


def _named(*names: str) -> Callable[[BagTopic], bool]:
    return lambda topic: topic.name.rpartition('/')[2] in names


def read_ticks(step_on: str, run: RecordedRun) -> Found:
    """Return how regular the ticks of the robot node are, from the bag.

    Its last report is of the last 10 s, earlier ones count by their worst.
    """
    reports = [
        message
        for _, time_ns, message in decoded(Bag(run.bag), _named('control_timing'))
        if time_ns > run.begin_ns
    ]
    if not reports:
        raise ConfigurationError(f'{run.bag} has no control_timing: run for longer')
    period_us = reports[-1].period_us
    p99_us = max(each.period_us_p99 for each in reports)
    return {
        'step_on': step_on,
        'period_us': period_us,
        'p50_us': float(np.median([each.period_us_p50 for each in reports])),
        'p99_us': p99_us,
        'missed_periods': reports[-1].missed_periods,
        'added_us': _added([run]),
        'memory_mb': run.robot.node('robot').peak_memory_mb,
        'jitter_p99_us': p99_us - period_us,
    }


def measure_ticks(folder: Path, description: Path, step_on: str, seconds: float) -> Found:
    """Run a robot at 50 Hz, stepping on the clock or on its sensors, with an untrained policy."""
    from rl_edge_compress.untrained import ensure_untrained  # TensorFlow, needed here alone

    content = yaml.safe_load(description.read_text())
    arguments = {**content.get('environment_arguments', {}), 'frame_skip': 2}
    content |= {
        'control_period_sec': FAST_PERIOD_SEC,
        'environment_arguments': arguments,
        'step_on': step_on,
    }
    path = ensure_folder(folder) / 'robot.yaml'
    path.write_text(yaml.safe_dump(content))
    text = yaml.safe_dump(arguments, default_flow_style=True).strip()
    model = ensure_untrained(str(content['environment_id']), text, folder.parent / 'untrained')
    request = RunRequest(
        folder,
        {
            'environment_id': str(content['environment_id']),
            'environment_arguments': text,
            'model': str(model),
            'record_topics': _RECORDED,
        },
        seconds=seconds,
        robot=str(path),
    )
    return read_ticks(step_on, record_run(request))


def run_robot_proof(values: Values) -> None:
    """Run both interfaces and the ticks, write robot_proof.json."""
    console, folder, model, values = begin(values)
    description = find_description(str(values['description']))
    load_description(description)  # a mistake shows now
    found: dict[str, Found] = {}
    for name, part, robot in ((NATIVE, 'native', ''), (STANDARD, 'standard', str(description))):
        with console.status(f'{counted(int(values["episodes"]), "episode")} over {name}'):
            requests = _requests(folder / part, values, str(model.folder), robot)
            found[name] = read_interface(record_runs(requests, reuse=bool(values['reuse'])))
    ticks = {}
    for step_on in ('clock', 'sensors') if values['tick_seconds'] else ():
        with console.status(f'ticks at {1 / FAST_PERIOD_SEC:g} Hz on {step_on}'):
            ticks[f'ticks on {step_on}'] = measure_ticks(
                folder / f'ticks_{step_on}', description, step_on, float(values['tick_seconds'])
            )
    kept = _kept(found)
    content = {
        'return_kept': kept,
        'interfaces': found,
        'ticks': list(ticks.values()),
        'parallel': values['parallel'],
    }
    write_result(folder / 'robot_proof.json', content, model)
    console.print(comparison_table(found, COLUMNS))
    if ticks:
        console.print(comparison_table(ticks, TICK_COLUMNS))
    console.print(f'return over standard topics / own messages: {kept} (aim: within 3 %)')
    console.print(f'wrote {folder / "robot_proof.json"}', soft_wrap=True)


def _kept(found: Mapping[str, Found]) -> Interval:
    """Pair the episodes by seed: one that a safety stop ended counts on neither side."""
    standard, native = found[STANDARD]['returns'], found[NATIVE]['returns']
    seeds = sorted(standard.keys() & native.keys())
    return kept_interval([standard[seed] for seed in seeds], [native[seed] for seed in seeds])


def _requests(folder: Path, values: Values, model: str, robot: str) -> list[RunRequest]:
    """Share the seeds among runs that go on side by side."""
    parallel = min(int(values['parallel']), int(values['episodes']))
    shares = np.array_split(np.arange(int(values['episodes'])), parallel)
    return [
        RunRequest(
            folder / str(index),
            {
                'environment_id': str(values['environment_id']),
                'model': model,
                'mode': 'realtime',
                'seed': str(int(values['seed']) + int(share[0])),
                'episodes': str(len(share)),
                'record_topics': _RECORDED,
            },
            robot=robot,
        )
        for index, share in enumerate(shares)
    ]


COLUMNS: tuple[Column[Found], ...] = (
    Column('return', '', lambda one: float(np.mean(list(one['returns'].values()))), digits=1),
    Column('episodes', '', lambda one: len(one['returns']), digits=0),
    Column('ended early', '', itemgetter('ended_early'), digits=0),
    Column('distance', 'm', itemgetter('distance_m'), digits=1),
    Column('response p50', 'us', lambda one: one['response_us'].p50, digits=0),
    Column('response p99', 'us', lambda one: one['response_us'].p99, digits=0),
    Column('response at the simulator p50', 'us', lambda o: o['at_simulator_us'].p50, digits=0),
    Column('response at the simulator p99', 'us', lambda o: o['at_simulator_us'].p99, digits=0),
    Column('added by robot_node p50', 'us', lambda one: one['added_us'][0], digits=0),
    Column('periods missed', '%', lambda one: 100.0 * one['missed_share'], digits=2),
    Column('steps checked', '', itemgetter('steps'), digits=0),
    Column('of these not explained', '', itemgetter('unexplained_steps'), digits=0),
    Column('robot_node, peak', 'MB', lambda o: o['memory_mb'].get('robot', math.nan), digits=0),
    Column('policy, peak', 'MB', lambda o: o['memory_mb'].get('policy', math.nan), digits=0),
)
TICK_COLUMNS: tuple[Column[Found], ...] = (
    Column('period p50', 'us', itemgetter('p50_us'), digits=0),
    Column('jitter p99', 'us', itemgetter('jitter_p99_us'), digits=0),
    Column('periods missed', '', itemgetter('missed_periods'), digits=0),
    Column('added p50', 'us', lambda one: one['added_us'][0], digits=0),
    Column('added p99', 'us', lambda one: one['added_us'][1], digits=0),
    Column('robot_node, peak', 'MB', itemgetter('memory_mb'), digits=0),
)

EXPERIMENT = Experiment(
    arguments=(
        *MODEL_ARGUMENTS,
        Setting('description', 'ant_v5', 'robot description: a file, or name of a shipped one'),
        Setting('episodes', 20, 'episodes over each interface', minimum=1),
        Setting(
            'parallel',
            2,
            'runs side by side that share the episodes; Fast DDS finds 32 processes of a machine',
            minimum=1,
            maximum=5,
        ),
        Setting('seed', 0, 'of the first episode', minimum=0),
        Setting('tick_seconds', 20.0, 'of each run that measures ticks at 50 Hz; 0 for none'),
        Setting('reuse', True, 'take the recordings of equal runs that are there'),
        OUTPUT,
    ),
    run=run_robot_proof,
)
