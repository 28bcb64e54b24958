"""Recordings that began late, and clocks that jump: what counts, and what is said of the rest."""

from pathlib import Path

import pytest
from bag_writer import BagWriter
from loop_messages import environment, summary, transition, write_episode

from rl_edge_eval.metrics.run_metrics import RunMetrics
from rl_edge_eval.metrics_of_bag import metrics_of_bag


def has_note(run: RunMetrics, *words: str) -> bool:
    return any(all(word in note for word in words) for note in run.notes)


def test_summaries_from_before_the_recording_are_not_in_the_means(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    for episode in range(5):  # of the model before a swap
        values = summary(episode, 4, episode_return=-66.0, model_hash='b' * 64)
        writer.add('/ant0/episode', 'EpisodeSummary', values, time_sec=1)
    # The recording began in the middle of episode 5.
    for step in (2, 3):
        values = transition(5, step)
        writer.add('/ant0/transition', 'Transition', values, time_sec=1 + 0.1 * step)
    writer.add('/ant0/episode', 'EpisodeSummary', summary(5, 4), time_sec=1.4)
    write_episode(writer, 6, 4, begin_sec=2, episode_return=100.0)
    write_episode(writer, 7, 4, begin_sec=3, episode_return=300.0)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert [episode.counts for episode in run.robot.episodes] == [False] * 6 + [True] * 2
    assert run.robot.summary is not None
    assert (run.robot.summary.episode_return.estimate, run.robot.summary.episode_return.count) == (
        200.0,
        2,
    )
    assert (run.robot.lost_transitions, run.robot.steps_before_recording) == (0, 2)
    assert has_note(run, 'episodes without transitions', 'not in the means', '(5 times)')
    assert has_note(run, 'began before the recording', 'episode 5')


def test_an_episode_whose_steps_were_all_lost_is_a_loss_and_no_part_of_the_means(
    tmp_path: Path,
) -> None:
    writer = BagWriter(tmp_path / 'bag')
    write_episode(writer, 0, 4, begin_sec=1)
    writer.add('/ant0/episode', 'EpisodeSummary', summary(1, 4), time_sec=2)
    write_episode(writer, 2, 4, begin_sec=3)
    writer.close()
    robot = metrics_of_bag(tmp_path / 'bag').robot
    assert robot.lost_transitions == 4
    assert robot.summary is not None
    assert robot.summary.episode_return.count == 2


@pytest.mark.parametrize('response_us', [100.0, 4000.0])
def test_transitions_from_before_the_recording_make_no_rate(
    tmp_path: Path, response_us: float
) -> None:
    writer = BagWriter(tmp_path / 'bag')

    def add(index: int, time_sec: float) -> None:
        number, step = divmod(index, 100)
        values = transition(number, step, response_time_us=response_us)
        writer.add('/ant0/transition', 'Transition', values, time_sec=time_sec)
        if step == 99:
            writer.add('/ant0/episode', 'EpisodeSummary', summary(number, 100), time_sec=time_sec)

    for index in range(1050):  # kept for late joiners, sent within 5 ms
        add(index, 1.0 + 5e-6 * index)
    for index in range(1050, 1450):  # 200 per second, as they happen
        add(index, 1.01 + 0.005 * (index - 1050))
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    robot = run.robot
    assert robot.steps_per_sec == pytest.approx(200.0)
    assert (robot.transitions, robot.steps_before_recording) == (1450, 1050)
    assert robot.response_us.count == 400
    assert robot.summary is not None
    assert robot.summary.episode_return.count == 3  # 11, 12 and 13: 10 was half over
    assert has_note(run, '1050 transitions from before the recording')


def test_a_few_steps_that_came_while_the_recorder_was_connected_cost_no_episode(
    tmp_path: Path,
) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for step in range(1000):  # 500 per second; the first 80 came at once
        time_sec = 1.16 if step < 80 else 1.0 + 0.002 * (step + 1)
        values = transition(0, step, response_time_us=1900.0)
        writer.add('/ant0/transition', 'Transition', values, time_sec=time_sec)
    writer.add('/ant0/episode', 'EpisodeSummary', summary(0, 1000), time_sec=time_sec)
    writer.close()
    robot = metrics_of_bag(tmp_path / 'bag').robot
    assert robot.steps_per_sec == pytest.approx(500.0)
    assert robot.episodes[0].counts


def test_models_that_share_a_bag_or_an_episode_are_noted(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for episode, models in enumerate(('aa', 'ab', '-b')):
        for step, model in enumerate(models):  # -: the safe action is applied instead
            model_hash = '' if model == '-' else model * 64
            values = transition(episode, step, model_hash=model_hash)
            time_sec = 1 + episode + 0.1 * step
            writer.add('/ant0/transition', 'Transition', values, time_sec=time_sec)
        writer.add('/ant0/episode', 'EpisodeSummary', summary(episode, 2), time_sec=time_sec)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert [episode.models for episode in run.robot.episodes] == [1, 2, 1]
    assert has_note(run, '2 models acted', 'a' * 12, 'b' * 12)
    assert has_note(run, 'more than one model acted', 'episode 1')


@pytest.mark.parametrize('jump_sec', [1.79e9, -3600.0, -20.0, 60.0])
def test_a_clock_that_jumps_is_left_out_of_rates(tmp_path: Path, jump_sec: float) -> None:
    writer = BagWriter(tmp_path / 'bag')
    begin_sec = 4000.0
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=begin_sec)
    for step in range(200):  # 20 per second, with a jump in the middle
        time_sec = begin_sec + 0.05 * (step + 1) + (jump_sec if step >= 100 else 0.0)
        writer.add('/ant0/transition', 'Transition', transition(0, step), time_sec=time_sec)
        if step % 20 == 10:
            usage = {'node': '/ant0/policy', 'pid': 3, 'cpu_seconds': 0.02 * step}
            writer.add('/ant0/resource_usage/policy', 'ResourceUsage', usage, time_sec=time_sec)
    writer.add('/ant0/episode', 'EpisodeSummary', summary(0, 200), time_sec=time_sec)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    robot = run.robot
    assert robot.steps_per_sec == pytest.approx(20.0)
    assert robot.episodes[0].steps_per_sec == pytest.approx(20.0)
    # 0.4 s of CPU per second; the pair of reports around the jump is left out.
    assert robot.node('policy').cpu_percent_mean == pytest.approx(40.0)
    assert run.duration_sec == pytest.approx(10.0, abs=0.1)
    assert len(run.notes) == 1
    assert has_note(run, 'the clock was set', 'left out of rates')


def test_a_clock_that_does_not_jump_leaves_no_note(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    write_episode(writer, 0, 4, begin_sec=1)
    write_episode(writer, 1, 4, begin_sec=10)
    writer.close()
    assert metrics_of_bag(tmp_path / 'bag').notes == ()


def test_a_file_written_topic_by_topic_has_no_jump(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for step in range(100):
        writer.add('/ant0/transition', 'Transition', transition(0, step), time_sec=1 + step)
    for second in range(100):
        usage = {'node': '/ant0/policy', 'pid': 3, 'cpu_seconds': 0.5 * second}
        writer.add('/ant0/resource_usage/policy', 'ResourceUsage', usage, time_sec=1 + second)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert not has_note(run, 'clock')
    assert run.robot.node('policy').cpu_ms_per_step == pytest.approx(500.0)


def test_a_span_of_time_is_selected(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=0)
    for second in range(10):
        usage = {
            'node': '/ant0/policy',
            'pid': 3,
            'cpu_seconds': 8.0 if second < 3 else 8.0 + 0.1 * (second - 3),  # it loads first
            'resident_memory_mb': 100.0 - second,
        }
        writer.add('/ant0/resource_usage/policy', 'ResourceUsage', usage, time_sec=second)
        if second >= 3:
            for step in range(10):
                values = transition(second, step, response_time_us=100.0 * second)
                time_sec = second + 0.1 * step
                writer.add('/ant0/transition', 'Transition', values, time_sec=time_sec)
            writer.add('/ant0/episode', 'EpisodeSummary', summary(second, 10), time_sec=time_sec)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    # Reports from 3.0 to 9.0 s: 0.6 s of CPU for the 60 steps after the first.
    times = run.robot.series.time_ns
    acting = run.robot.between(times[0], times[-1])
    assert acting.node('policy').cpu_ms_per_step == pytest.approx(10.0)
    assert acting.node('/ant0/policy').resident_memory_mb_max == 97.0
    assert acting.transitions == run.robot.transitions == 70
    part = run.robot.between(4_950_000_000, 7_050_000_000)
    assert [episode.episode for episode in part.episodes] == [5, 6, 7]
    assert part.transitions == 21
    assert (part.response_us.p50, part.response_us.max) == (600.0, 700.0)
    assert part.steps_per_sec == pytest.approx(10.0)
    assert part.node('policy').cpu_ms_per_step == pytest.approx(10.0)
    assert part.episodes[0].episode_return == 10.0
    # Outside of it nothing was measured.
    nothing = run.robot.between(0, 1)
    assert nothing.episodes == ()
    assert nothing.response_us.count == 0
    assert nothing.steps_per_sec != nothing.steps_per_sec


def test_rate_of_a_bag_of_summaries_alone(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for episode, end_sec in enumerate((3.0, 5.0, 6.0)):
        values = summary(episode, 10 * (episode + 1))
        writer.add('/ant0/episode', 'EpisodeSummary', values, time_sec=end_sec)
    writer.close()
    # 20 + 30 steps in the 3 s after the first episode.
    assert metrics_of_bag(tmp_path / 'bag').robot.steps_per_sec == pytest.approx(50 / 3)
