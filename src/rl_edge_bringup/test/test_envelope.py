"""The envelope: what counts as walking, and where to look for the smallest computer."""

import math

import pytest

from rl_edge_bringup.command_line import main
from rl_edge_bringup.experiments.envelope import (
    WHOLE,
    Cell,
    judge,
    next_share,
    share_kept,
    smallest_that_walks,
)
from rl_edge_bringup.experiments.lists import numbers_of, words_of
from rl_edge_core.errors import ConfigurationError


def cell(*, episode_return, distance_m=math.nan):
    return Cell(
        configuration='compressed',
        real_time_factor=1.0,
        core_percent=10.0,
        returns=(episode_return,),
        return_mean=episode_return,
        forward_distance_m=distance_m,
        falls=0,
        steps=1000,
        cpu_ms_per_action=1.0,
        cpu_percent=2.0,
        missed_share=0.0,
        safe_share=0.0,
        response_ms_p50=1.0,
        response_ms_p99=2.0,
        throttling=None,
    )


@pytest.mark.parametrize(
    ('value', 'reference', 'kept'),
    [(90.0, 100.0, 0.9), (-110.0, -100.0, 0.9), (100.0, -100.0, 3.0)],
)
def test_what_is_kept_of_a_return_also_of_a_negative_one(value, reference, kept):
    assert share_kept(value, reference) == pytest.approx(kept)


def test_nothing_is_kept_of_nothing():
    assert math.isnan(share_kept(1.0, 0.0))


def test_walking_needs_return_and_distance():
    reference = cell(episode_return=6000.0, distance_m=300.0)

    fine = judge(cell(episode_return=5500.0, distance_m=280.0), reference, keep=0.9)
    standing = judge(cell(episode_return=5500.0, distance_m=2.0), reference, keep=0.9)
    falling = judge(cell(episode_return=800.0, distance_m=290.0), reference, keep=0.9)

    assert [one.walks for one in (fine, standing, falling)] == [True, False, False]
    assert fine.return_kept == pytest.approx(5500 / 6000)


def test_where_there_is_no_distance_the_return_decides():
    assert judge(cell(episode_return=95.0), cell(episode_return=100.0), keep=0.9).walks


def test_the_smallest_share_has_no_failure_above_it():
    assert smallest_that_walks({100: True, 50: True, 10: False, 2: True}) == 50
    assert smallest_that_walks({100: True, 50: False}) == WHOLE


@pytest.mark.parametrize(
    ('judged', 'share'),
    [
        ({100: True, 50: True, 10: True, 2: True}, 1.0),  # half of what walks
        ({100: True, 50: True, 2: False}, 10.0),  # sqrt(50 * 2)
        ({100: True, 1: False}, 10.0),  # sqrt(100 * 1)
        ({100: True, 5: True, 4.5: False}, None),  # close enough
        ({100: True, 0.3: True}, None),  # no half of it can be tried
    ],
)
def test_the_search_halves_until_it_fails_and_then_goes_between(judged, share):
    assert next_share(judged) == (share if share is None else pytest.approx(share))


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
