"""What the console says of episodes."""

import math
import re

import pytest

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_core.loop.events import EpisodeEvent
from rl_edge_core.ros.loop_publisher import EpisodeLog


class Console:
    def __init__(self):
        self.now_sec, self.lines = 100.0, []
        self.log = EpisodeLog(self.lines.append, now_sec=lambda: self.now_sec)
        self.episodes = 0

    def finish(self, episode_return=10.0, *, after_sec=0.0, ended_by=EndedBy.TIME_LIMIT):
        self.now_sec += after_sec
        self.log.update()
        result = EpisodeResult(self.episodes, episode_return, 7, 2.5, 0.5, ended_by)
        counts = ActionCounts(late=1)
        self.log.add(EpisodeEvent(self.episodes, result, counts, 'abc', 0))
        self.episodes += 1


@pytest.fixture
def console():
    return Console()


def test_slow_episodes_have_a_line_each(console):
    for _ in range(3):
        console.finish(after_sec=3.0)
    assert [line.partition(' (')[0] for line in console.lines] == [
        'episode 0',
        'episode 1',
        'episode 2',
    ]
    assert 'return 10.0, 7 steps, 2.50 m forward, ended by time limit' in console.lines[0]


def test_a_distance_or_a_reason_that_there_is_not_is_not_printed():
    said = []
    log = EpisodeLog(said.append, now_sec=lambda: 0.0)
    result = EpisodeResult(
        0, 93.0, 94, math.nan, math.nan, EndedBy.TERMINATION, termination_reason='terminated'
    )
    log.add(EpisodeEvent(0, result, ActionCounts(), 'abc', 0))
    assert said == ['episode 0 (seed 0): return 93.0, 94 steps, ended by termination']


def test_fast_ones_share_a_line_that_says_how_many_it_covers(console):
    for episode_return in range(119):
        console.finish(float(episode_return), after_sec=0.1)
    console.finish(1000.0, after_sec=0.1, ended_by=EndedBy.TERMINATION)
    assert len(console.lines) == 3  # the first alone, then one in 5 s
    assert re.match(r'episodes 1 to (49|50) \((49|50) of them\): return 25\.', console.lines[1])
    console.log.close()
    covered = sum(int(n) for line in console.lines for n in re.findall(r'\((\d+) of them', line))
    assert covered + 1 == 120
    assert '1 ended early' in console.lines[-2]


def test_the_closing_table_covers_all(console):
    console.finish(10.0)
    console.finish(30.0, ended_by=EndedBy.TERMINATION)
    console.log.close()
    table = console.lines[-1]
    assert table.splitlines()[0] == '2 episodes, 1 ended early'
    assert re.search(r'return +20\.00 +10\.00 +30\.00', table)
    assert '2 late' in table
    console.log.close()
    assert console.lines[-1] == table


CUTS = [EndedBy.RESET, EndedBy.POLICY_TIMEOUT, EndedBy.SHUTDOWN, EndedBy.SAFETY_STOP]


@pytest.mark.parametrize('cut', CUTS)
def test_an_episode_that_was_cut_off_has_a_line_and_is_in_no_mean(console, cut):
    console.finish(10.0)
    console.finish(3000.0, after_sec=3.0, ended_by=cut)
    assert f'ended by {cut.name.lower().replace("_", " ")}' in console.lines[-1]
    console.log.close()
    assert re.search(r'return +10\.00 +10\.00 +10\.00', console.lines[-1])


def test_a_line_for_several_has_means_of_the_whole_ones(console):
    console.finish(10.0)
    for episode_return, ended_by in ((20.0, None), (900.0, EndedBy.SAFETY_STOP), (40.0, None)):
        console.finish(episode_return, after_sec=0.1, ended_by=ended_by or EndedBy.TIME_LIMIT)
    console.finish(800.0, after_sec=0.1, ended_by=EndedBy.RESET)
    console.log.close()
    assert console.lines[1] == (
        'episodes 1 to 4 (4 of them): return 30.0 on average (20.0 to 40.0), 7 steps, '
        '0 ended early, 2 cut off, in no mean'
    )


def test_a_run_that_never_took_a_step_has_neither_line_nor_table(console):
    result = EpisodeResult(0, 0.0, 0, 0.0, 0.0, EndedBy.POLICY_TIMEOUT)
    console.log.add(EpisodeEvent(0, result, ActionCounts(missed=1), '', 0))
    console.log.close()
    assert console.lines == []


def test_nothing_is_said_of_no_episode(console):
    console.log.update()
    console.log.close()
    assert console.lines == []
