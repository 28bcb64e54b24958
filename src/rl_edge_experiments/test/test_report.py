"""The report: what decides a claim, which models are run, and the page."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from rl_edge_bringup.__main__ import main
from rl_edge_core.statistics import Interval
from rl_edge_eval.bag.decode import Frame
from rl_edge_experiments.plots import newest_at
from rl_edge_experiments.report import claims
from rl_edge_experiments.report.claims import (
    DIFFERS,
    FAILS,
    HOLDS,
    MISSING,
    OPEN,
    Claim,
    Finding,
    above,
    below,
    check_claims,
    worst,
)
from rl_edge_experiments.report.page import render_page
from rl_edge_experiments.report.report import models_of


def interval(low, high):
    return Interval((low + high) / 2, low, high, 10)


def claim(*verdicts):
    findings = {str(index): Finding(verdict, '') for index, verdict in enumerate(verdicts)}
    return Claim('text', 'criterion', findings)


@pytest.mark.parametrize(
    ('low', 'high', 'verdict'),
    [(0.98, 1.0, HOLDS), (0.9, 0.97, FAILS), (0.97, 0.99, OPEN), (0.9, math.nan, OPEN)],
)
def test_a_lower_limit_is_kept_by_the_whole_interval(low, high, verdict):
    assert above(interval(low, high), 0.98) == verdict


@pytest.mark.parametrize(
    ('low', 'high', 'verdict'),
    [(0.0, 0.02, HOLDS), (0.03, 0.1, FAILS), (0.01, 0.03, OPEN), (math.nan, 0.0, OPEN)],
)
def test_an_upper_limit_is_kept_by_the_whole_interval(low, high, verdict):
    assert below(interval(low, high), 0.02) == verdict


@pytest.mark.parametrize(
    ('full', 'compressed', 'verdict', 'share'),
    [
        (100.0, 99.0, HOLDS, '99.0 % [99.0, 99.0] of the return kept'),
        # 1 - (1021 - 661.7) / 661.7
        (-661.7, -1021.0, FAILS, '45.7 % [45.7, 45.7] of the return kept'),
        (0.0, 1.0, OPEN, 'the full policy returns 0.0: a share of it says nothing'),
    ],
)
def test_the_return_kept_whatever_its_sign(full, compressed, verdict, share):
    pair = SimpleNamespace(
        full=SimpleNamespace(returns=np.full(10, full)),
        compressed=SimpleNamespace(returns=np.full(10, compressed)),
    )
    finding = claims._accuracy(pair)
    assert finding.verdict == verdict
    assert finding.figure.startswith(share)


def test_what_fails_once_does_not_hold():
    assert worst([HOLDS, OPEN, FAILS]) == FAILS
    assert worst([HOLDS, OPEN]) == OPEN
    assert worst([HOLDS, HOLDS]) == HOLDS


@pytest.mark.parametrize(
    ('verdicts', 'all_together'),
    [
        ((HOLDS, HOLDS), HOLDS),
        ((HOLDS, FAILS), DIFFERS),
        ((FAILS, OPEN), OPEN),
        ((FAILS, MISSING), FAILS),
        ((MISSING,), MISSING),
        ((HOLDS, FAILS, OPEN), DIFFERS),
    ],
)
def test_a_claim_over_several_models(verdicts, all_together):
    assert claim(*verdicts).verdict == all_together


def test_what_was_not_run_is_said_to_be_not_measured():
    by_text = {one.text: one for one in check_claims([])}

    assert by_text['PPO moves best'].verdict == MISSING
    (finding,) = by_text['PPO moves best'].findings.values()
    assert finding.figure == 'without ppo and actor_critic'


def test_the_study_s_models_come_first_and_missing_ones_are_said(monkeypatch):
    module = 'rl_edge_experiments.report.report.model_names'
    monkeypatch.setattr(module, lambda: ['ant_v5/best', 'ant_v5/ppo', 'ant_v5/wide', 'hopper/x'])

    names, missing = models_of('')

    assert names == ('ant_v5/ppo', 'ant_v5/best', 'ant_v5/wide')
    (line,) = missing
    assert line.startswith('ant_v5/actor_critic is missing')


def test_models_that_are_named_are_taken_as_they_are():
    assert models_of('ant_v5/best, other') == (('ant_v5/best', 'other'), [])


def test_the_image_that_is_shown_is_the_newest_that_had_come():
    frames = [Frame(time, np.full((1, 1, 3), time, np.uint8)) for time in (10, 20, 50)]

    shown = newest_at(frames, np.array([5, 10, 30, 49, 60]))

    assert [int(pixels[0, 0, 0]) for pixels in shown] == [10, 10, 20, 20, 50]


def test_the_page_needs_nothing_beside_it_and_escapes_what_it_shows():
    page = render_page(
        [],
        [Claim('a < b', 'always', {'x': Finding(HOLDS, '1 & 2')})],
        missing=['ppo is missing'],
        introduction=['settings'],
        machine={'cores': 2, 'libraries': {'numpy': '1'}},
        images={},
    )

    assert 'a &lt; b' in page
    assert '1 &amp; 2' in page
    assert 'ppo is missing' in page
    assert 'numpy 1' in page
    assert 'http' not in page.replace('http-equiv', '')


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('models:=nonesuch', 'no such artifact folder'),
        ('models:=,', 'models is empty'),
        ('episodes:=0', 'a whole number, 1 or more'),
        ('seconds:=1', 'a number, 4 or more'),
        ('render:=window', 'one of topic, none'),
        ('recipe:=int3', 'did you mean int8?'),
        ('output:=/proc/nowhere', '/proc/nowhere cannot be written'),
    ],
)
def test_what_is_not_valid_is_said_before_anything_runs(capsys, word, message):
    assert main(['report', word]) in (1, 2)
    captured = capsys.readouterr()
    assert message in captured.err
    assert 'recorded' not in captured.out
