from pathlib import Path

import pytest
from bag_writer import BagWriter
from loop_messages import environment, write_episode

from rl_edge_eval.metrics.comparison import PAIRED, UNPAIRED, compare
from rl_edge_eval.metrics.run_metrics import RunMetrics
from rl_edge_eval.metrics_of_bag import metrics_of_bag


def bag_of(
    folder: Path,
    returns: dict[int, float],
    *,
    memory_mb: float = 80.0,
    robot: str = '/ant0',
    mode: str = 'lockstep',
) -> RunMetrics:
    """Evaluate a bag with one episode a seed, of the given returns."""
    writer = BagWriter(folder)
    writer.add(f'{robot}/environment', 'Environment', environment(mode=mode), time_sec=1)
    for episode, (seed, value) in enumerate(returns.items()):
        values = {'seed': seed, 'episode_return': value}
        write_episode(writer, episode, 4, robot=robot, begin_sec=2 + episode, **values)
    for second in (1, 2):
        usage = {'node': f'{robot}/policy', 'resident_memory_mb': memory_mb}
        writer.add(f'{robot}/resource_usage/policy', 'ResourceUsage', usage, time_sec=second)
    writer.close()
    return metrics_of_bag(folder)


def test_same_seeds_are_paired(tmp_path: Path) -> None:
    first = bag_of(tmp_path / 'a', {1: 100.0, 2: 2000.0, 3: 300.0}, memory_mb=581.0)
    second = bag_of(tmp_path / 'b', {3: 290.0, 1: 90.0, 2: 1990.0}, memory_mb=85.0)
    (comparison,) = compare([first, second])
    metrics = {metric.name: metric for metric in comparison.metrics}
    returns = metrics['return']
    # Every seed lost exactly 10, however different the seeds are from each other.
    assert returns.method == PAIRED
    assert returns.difference is not None
    assert (returns.difference.estimate, returns.difference.low, returns.difference.high) == (
        pytest.approx((-10.0, -10.0, -10.0))
    )
    assert (returns.baseline, returns.other) == (800.0, 790.0)
    # A seed decides nothing about times.
    assert (
        metrics['response p50, mean over episodes, us'].method
        == metrics['steps/s'].method
        == UNPAIRED
    )
    assert comparison.note == ''
    memory = metrics['policy: resident, MB']
    assert (memory.baseline, memory.other, memory.difference) == (581.0, 85.0, None)


def test_other_seeds_are_not_paired(tmp_path: Path) -> None:
    first = bag_of(tmp_path / 'a', {1: 100.0, 2: 200.0})
    second = bag_of(tmp_path / 'b', {1: 100.0, 3: 260.0}, robot='/other')
    (comparison,) = compare([first, second])
    returns = next(metric for metric in comparison.metrics if metric.name == 'return')
    assert returns.method == UNPAIRED
    assert returns.difference is not None
    assert returns.difference.estimate == 30.0
    assert returns.difference.low < 0 < returns.difference.high
    assert comparison.other.endswith('b /other')


def test_one_episode_has_no_interval_and_another_mode_is_noted(tmp_path: Path) -> None:
    first = bag_of(tmp_path / 'a', {1: 100.0})
    second = bag_of(tmp_path / 'b', {1: 90.0}, mode='realtime')
    (comparison,) = compare([first, second])
    returns = next(metric for metric in comparison.metrics if metric.name == 'return')
    assert (str(returns.difference), returns.method) == ('-10.0', '')
    assert comparison.note.startswith('realtime against lockstep: ')


def test_bag_without_episodes_compares_to_nothing(tmp_path: Path) -> None:
    first, second = bag_of(tmp_path / 'a', {1: 1.0}), bag_of(tmp_path / 'b', {})
    (comparison,) = compare([first, second])
    assert all(metric.name.startswith('policy: ') for metric in comparison.metrics)
