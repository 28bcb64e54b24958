"""What the plots of bags show: every curve, under a name that tells it from the others."""

from pathlib import Path

import numpy as np
import pytest
from bag_writer import BagWriter
from loop_messages import RUN, small_bag, summary, write_episodes
from matplotlib.figure import Figure

from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.output.plots import names_of, write_plots


@pytest.fixture
def drawn(monkeypatch):
    """Collect the figures that are written, by the names of their files."""
    figures = {}
    save = Figure.savefig

    def savefig(figure, target, **options):
        figures[Path(target).name] = figure
        save(figure, target, **{'format': 'png', **options})

    monkeypatch.setattr(Figure, 'savefig', savefig)
    return lambda name: next(one for file, one in figures.items() if name in file).axes


def usage(node: str, memory_mb: float) -> dict:
    return {
        'node': f'/ant0/{node}',
        'cpu_percent': memory_mb / 10,
        'resident_memory_mb': memory_mb,
    }


def labels_of(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


@pytest.mark.parametrize(
    ('paths', 'names'),
    [
        (['results/a/bag', 'results/b/bag'], ['a', 'b']),
        (['x/run/bag', 'y/run/bag'], ['x/run', 'y/run']),
        (['x/first', 'x/second'], ['first', 'second']),
        (['x/run/bag', 'x/run/bag'], ['run', 'run']),
    ],
)
def test_a_bag_is_named_by_what_tells_it_from_the_others(paths, names):
    assert names_of(paths) == names


def test_every_curve_is_inside_its_axes(tmp_path, drawn):
    writer = BagWriter(tmp_path / 'first' / 'bag')
    write_episodes(writer, episodes=2)
    # The later node uses more than the one before, and a third reports once.
    for node, memory_mb, seconds in (('policy', 50.0, 3), ('sim', 121.0, 3), ('late', 300.0, 1)):
        for second in range(seconds):
            values = usage(node, memory_mb)
            topic = f'/ant0/resource_usage/{node}'
            writer.add(topic, 'ResourceUsage', values, time_sec=1.0 + second)
    writer.close()
    bags = [tmp_path / 'first' / 'bag', small_bag(tmp_path / 'second' / 'bag')]
    write_plots(tmp_path / 'plots', [metrics_of_bag(path) for path in bags])
    cpu, memory = drawn('resources')
    assert cpu.get_ylim()[0] == memory.get_ylim()[0] == 0
    assert cpu.get_ylim()[1] > 30.0
    assert memory.get_ylim()[1] > 300.0
    single = [line for line in memory.get_lines() if len(line.get_xdata()) == 1]
    assert [line.get_marker() for line in single] == ['o']
    assert labels_of(drawn('episodes')[0]) == ['first', 'second']
    response, _ = drawn('latency')
    # Each step of the bag answered after 100 µs.
    assert labels_of(response)[0] == 'first: p50 100 (line), p99 100 (dashed)'
    assert 'Test-v0 lockstep' in response.figure.get_suptitle()


def test_a_task_without_a_distance_has_no_panel_of_it(tmp_path, drawn):
    writer = BagWriter(tmp_path / 'bag')
    values = summary(0, 4, forward_distance=np.nan, run_id=RUN)
    writer.add('/ant0/episode', 'EpisodeSummary', values, time_sec=1.0)
    writer.close()
    write_plots(tmp_path / 'plots', [metrics_of_bag(tmp_path / 'bag')])
    (returns,) = drawn('episodes')
    assert returns.get_ylabel() == 'return'
    # One episode: its point stands in the middle of a whole number.
    assert returns.get_xlim() == (-0.5, 0.5)
    assert [line.get_linestyle() for line in returns.get_lines()] == ['None']
