"""The envelope: what counts as walking, and where to look for the smallest computer."""

import math

import pytest

from rl_edge_bringup.__main__ import main
from rl_edge_core.errors import ConfigurationError
from rl_edge_experiments.envelope import (
    NO_QUOTA,
    compare,
    next_share,
    smallest_that_walks,
)
from rl_edge_experiments.experiment import numbers_of, words_of


def run(*, episode_return=0.0, speed=math.nan, falls=0, episodes=1):
    return {
        'returns': [episode_return] * episodes,
        'return_mean': episode_return,
        'mean_speed_m_per_s': speed,
        'falls': falls,
    }


def test_walking_is_keeping_the_speed():
    reference = run(episode_return=6000.0, speed=6.0)

    fine = compare(run(episode_return=5500.0, speed=5.5), reference, keep=0.9)
    standing = compare(run(episode_return=1000.0, speed=0.1), reference, keep=0.9)

    assert (fine['walks'], standing['walks']) == (True, False)
    assert fine['return_kept'] == pytest.approx(5500 / 6000)
    assert standing['speed_kept'] == pytest.approx(0.1 / 6.0)


@pytest.mark.parametrize(('falls', 'walks'), [(0, True), (1, True), (2, False), (3, False)])
def test_more_than_half_of_the_episodes_falling_is_not_walking(falls, walks):
    reference = run(speed=6.0, episodes=3)

    run_of_3 = run(speed=6.0, falls=falls, episodes=3)
    assert compare(run_of_3, reference, keep=0.9)['walks'] is walks


def test_a_reference_that_falls_does_not_walk_either():
    reference = run(speed=6.0, falls=3, episodes=3)

    assert not compare(reference, reference, keep=0.9)['walks']


def test_where_there_is_no_distance_the_return_decides():
    fine = compare(run(episode_return=95.0), run(episode_return=100.0), keep=0.9)
    assert fine['walks']


def test_the_smallest_share_that_walks_counts_whatever_fell_by_chance_above_it():
    assert smallest_that_walks({100: True, 50: False, 10: True, 2: False}) == 10
    assert smallest_that_walks({100: True, 50: False}) == NO_QUOTA
    assert smallest_that_walks({100: False, 50: False}) is None


@pytest.mark.parametrize(
    ('walks_at', 'share'),
    [
        ({100: True, 50: True, 10: True, 2: True}, 1.0),  # half of what walks
        ({100: True, 50: True, 2: False}, 10.0),  # sqrt(50 * 2)
        ({100: True, 1: False}, 10.0),  # sqrt(100 * 1)
        ({100: True, 5: True, 4.5: False}, None),  # close enough
        ({100: True, 0.3: True}, None),  # no half of it can be tried
        ({100: False, 50: False}, None),  # nothing walks
    ],
)
def test_the_search_halves_until_it_fails_and_then_goes_between(walks_at, share):
    assert next_share(walks_at) == (share if share is None else pytest.approx(share))


def test_lists_are_separated_by_commas():
    assert numbers_of('shares', '50, 10,2', above=0, most=100) == (50.0, 10.0, 2.0)
    assert words_of('configurations', 'compressed,compressed') == ('compressed',)


@pytest.mark.parametrize('text', ['', 'fifty', '0', '101', 'nan', '50;10'])
def test_a_list_that_is_none_says_what_is_valid(text):
    with pytest.raises(ConfigurationError, match='shares'):
        numbers_of('shares', text, above=0, most=100)


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('configurations:=compresed', 'did you mean compressed?'),
        ('shares:=0.01', 'a share of 0.01 % of a core cannot be set'),
        ('real_time_factors:=fast', 'must be numbers above 0'),
        ('episodes:=0', 'a whole number, 1 or more'),
        ('model:=nonesuch', 'no such artifact folder'),
    ],
)
def test_what_is_not_valid_is_said_before_anything_runs(capsys, word, message):
    assert main(['envelope', word]) == 2
    assert message in capsys.readouterr().err
