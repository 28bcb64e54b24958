"""Metrics worked by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from bag_writer import BagWriter
from loop_messages import SPEC, environment, summary, transition, write_episode, write_episodes

from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_core.results import json_types
from rl_edge_eval.metrics.run_metrics import RobotMetrics
from rl_edge_eval.metrics.series import Percentiles
from rl_edge_eval.metrics_of_bag import metrics_of_bag


def robot_of(folder: Path) -> RobotMetrics:
    (robot,) = metrics_of_bag(folder).robots
    return robot


def test_percentiles_by_hand() -> None:
    # 1..5: the median is 3, the 99th percentile lies 0.96 of the way from 4 to 5.
    run = Percentiles.of([5.0, 1.0, math.nan, 4.0, 2.0, 3.0])
    assert (run.p50, run.max, run.count) == (3.0, 5.0, 5)
    assert run.p99 == pytest.approx(4.96)
    assert Percentiles.of([math.nan]).count == 0


def test_finished_episode(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    for step, (response, inference) in enumerate([(300, 8), (100, 4), (200, 6), (400, math.nan)]):
        values = transition(
            0, step, response_time_us=float(response), inference_time_us=float(inference)
        )
        writer.add('/ant0/transition', 'Transition', values, time_sec=2 + 0.5 * step)
    counts = {
        'missed_actions': 1,
        'late_actions': 2,
        'duplicate_actions': 3,
        'foreign_actions': 4,
        'rejected_actions': 5,
        'safe_actions': 6,
    }
    values = summary(0, 4, forward_distance=0.9, mean_speed=4.5, ended_by=0, **counts)
    values['termination_reason'] = 'torso.z above 1'
    writer.add('/ant0/episode', 'EpisodeSummary', values, time_sec=4)
    writer.close()
    robot = robot_of(tmp_path / 'bag')
    (episode,) = robot.episodes
    assert (episode.seed, episode.length, episode.recorded_steps) == (10, 4, 4)
    assert episode.episode_return == 4.0
    assert episode.reward_terms == {'forward': 6.0, 'control': -2.0}
    assert (episode.forward_distance_m, episode.mean_speed_m_per_s) == (0.9, 4.5)
    assert episode.ended_by == 'termination'
    assert episode.termination_reason == 'torso.z above 1'
    assert episode.actions == ActionCounts(1, 2, 3, 4, 5, 6)
    assert (episode.response_us.p50, episode.response_us.max) == (250.0, 400.0)
    assert (episode.inference_us.p50, episode.inference_us.count) == (6.0, 3)
    # 3 intervals of 0.5 s: 2 steps/s. Header stamps pass as fast as the recording: factor 1.
    assert episode.steps_per_sec == pytest.approx(2.0)
    assert episode.real_time_factor == pytest.approx(1.0)
    assert (episode.model_hash, episode.models) == ('a' * 64, 1)
    assert robot.summary is not None
    assert robot.summary.early_end_share.estimate == 1.0
    assert robot.environment_id == 'Test-v0'
    assert (robot.spec_hash, robot.mode) == (SPEC.hash, 'lockstep')


def test_unfinished_episode_is_summed_from_its_transitions(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    end_sec = write_episodes(writer, episodes=1)
    for step in range(3):
        values = transition(1, step, safe_action=step == 1, reward=2.0)
        writer.add('/ant0/transition', 'Transition', values, time_sec=end_sec + 1 + step)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    (robot,) = run.robots
    episode = robot.episodes[1]
    assert (episode.ended_by, episode.seed, episode.has_summary) == ('unfinished', None, False)
    assert (episode.episode_return, episode.length) == (6.0, 3)
    # Positions 0.25, 0.50, 0.75 after each step: 0.5 m in 2 steps of 0.05 s.
    assert episode.forward_distance_m == pytest.approx(0.5)
    assert episode.mean_speed_m_per_s == pytest.approx(5.0)
    assert episode.actions.safe == 1
    assert robot.summary is not None
    assert robot.summary.episode_return.count == 1
    assert any('still open at the end' in note for note in run.notes)


def test_episodes_that_were_cut_short_are_not_in_the_means(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    for episode, ended_by in enumerate((0, 1, 2, 3, 4)):
        length = 10 * (episode + 1)
        write_episode(writer, episode, length, begin_sec=2 + episode, ended_by=ended_by)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    robot = run.robots[0]
    assert [episode.ended_by for episode in robot.episodes] == [
        'termination',
        'time limit',
        'reset',
        'policy timeout',
        'shutdown',
    ]
    assert robot.summary is not None
    assert robot.summary.episode_return.estimate == 15.0
    assert robot.lost_transitions == 0
    assert sum('not in the means' in note for note in run.notes) == 3


def test_recording_that_began_late_did_not_lose_what_was_before(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for episode, step in ((3, 2), (3, 3), (4, 0), (4, 2)):
        writer.add('/ant0/transition', 'Transition', transition(episode, step), time_sec=1 + step)
    writer.close()
    robot = robot_of(tmp_path / 'bag')
    assert (robot.steps_before_recording, robot.lost_transitions) == (2, 1)


def test_two_runs_of_the_simulator_are_kept_apart(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for run_id in (1, 2):
        for step in range(2):
            values = transition(0, step, run_id=run_id)
            writer.add('/ant0/transition', 'Transition', values, time_sec=run_id + step)
    writer.close()
    robot = robot_of(tmp_path / 'bag')
    assert [(e.run_id, e.recorded_steps) for e in robot.episodes] == [(1, 2), (2, 2)]
    assert (robot.duplicate_transitions, robot.lost_transitions) == (0, 0)


def test_summary_that_its_transitions_contradict(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for step in range(2):
        writer.add('/ant0/transition', 'Transition', transition(0, step), time_sec=1 + step)
    values = summary(0, 2, episode_return=2.5)
    writer.add('/ant0/episode', 'EpisodeSummary', values, time_sec=4)
    writer.close()
    notes = metrics_of_bag(tmp_path / 'bag').notes
    assert any('has 2.5, its transitions sum to 2.0' in note for note in notes)


def test_node_resources(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for second in range(5):
        for step in range(10):
            time_sec = second + 0.05 + step / 10
            values = transition(0, 10 * second + step)
            writer.add('/ant0/transition', 'Transition', values, time_sec=time_sec)
        # Started again after the third report: CPU seconds begin anew with another process.
        usage = {
            'node': '/ant0/policy',
            'pid': 100 if second < 3 else 200,
            'cpu_percent': 10.0 * (second + 1),
            'cpu_seconds': [1.0, 1.2, 1.4, 0.3, 0.4][second],
            'resident_memory_mb': 80.0 + second,
            'peak_memory_mb': 90.0,
            'unique_memory_mb': math.nan if second == 0 else 50.0,
            'threads': 7,
        }
        writer.add('/ant0/resource_usage/policy', 'ResourceUsage', usage, time_sec=second + 1.0)
    writer.close()
    (node,) = robot_of(tmp_path / 'bag').nodes
    assert (node.node, node.samples, node.processes) == ('/ant0/policy', 5, 2)
    # 0.2 + 0.2 + 0.1 s of CPU in 3 s that one process lived through, over their 30 steps.
    assert node.cpu_percent_mean == pytest.approx(100 * 0.5 / 3)
    # 0.2 s within a second at most: on the same clock as the mean, which cannot exceed it.
    assert node.cpu_percent_max == pytest.approx(20.0)
    assert node.cpu_ms_per_step == pytest.approx(500 / 30)
    assert (node.resident_memory_mb_mean, node.resident_memory_mb_max) == (82.0, 84.0)
    assert (node.peak_memory_mb, node.unique_memory_mb_mean, node.threads_max) == (90.0, 50.0, 7)


def test_policy_status_is_kept_at_each_change(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for second, (state, model, actions) in enumerate(
        [(1, 'a', 0), (2, 'a', 5), (2, 'a', 9), (2, 'b', 12)]
    ):
        values = {
            'state': state,
            'model_hash': model,
            'model_id': f'test/{model}.tflite',
            'runtime': 'litert',
            'actions': actions,
            'first_action_sec': 0.8,
        }
        writer.add('/ant0/policy_status', 'PolicyStatus', values, time_sec=second)
    writer.close()
    policies = robot_of(tmp_path / 'bag').policies
    assert [(p.state, p.model_hash, p.actions) for p in policies] == [
        ('inactive', 'a', 0),
        ('active', 'a', 9),
        ('active', 'b', 12),
    ]


def test_rewards_that_are_not_finite_are_noted(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    values = transition(0, 0, reward=math.nan, reward_terms=np.array([math.nan, 0.0]))
    writer.add('/ant0/transition', 'Transition', values, time_sec=1)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert any('reward is not finite' in note for note in run.notes)
    assert json_types(run)['robots'][0]['episodes'][0]['episode_return'] is None
