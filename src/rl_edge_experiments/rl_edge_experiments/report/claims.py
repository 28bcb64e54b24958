"""The study's claims, each beside what was measured: what holds, what does not, what is open."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from rl_edge_core.statistics import Interval, kept_interval, mean_interval, unpaired_difference
from rl_edge_core.wording import counted
from rl_edge_experiments.experiment import FEWEST_EPISODES
from rl_edge_experiments.report.sides import ALONE, Pair, Side

HOLDS, FAILS, OPEN, MISSING = 'holds', 'does not hold', 'open', 'not measured'
DIFFERS = 'differs by model'

MEMORY_SAVED_MB = 1000.0
LATE_SHARE = 0.02
RETURN_KEPT = 0.98
QUARTER = 0.275
HIGHEST_CPU_PERCENT = 78.0
HARDLY_M = 5.0
ALL_MODELS = 'all models'


@dataclass(frozen=True)
class Finding:
    """What was found of one claim for one model."""

    verdict: str
    figure: str
    """What it rests on, in words."""


@dataclass(frozen=True)
class Claim:
    """A claim of the study and what decides it."""

    text: str
    criterion: str
    findings: Mapping[str, Finding]
    """By model."""

    @property
    def verdict(self) -> str:
        """Return the verdict over all models that say anything."""
        verdicts = {finding.verdict for finding in self.findings.values()} - {MISSING}
        if not verdicts:
            return MISSING
        if verdicts == {HOLDS, FAILS} or len(verdicts) > 2:
            return DIFFERS
        return OPEN if OPEN in verdicts else verdicts.pop()

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {**asdict(self), 'verdict': self.verdict}


def above(interval: Interval, limit: float) -> str:
    """Say whether all of an interval is at or above a limit, below it, or neither."""
    if not np.isfinite([interval.low, interval.high]).all():
        return OPEN
    if interval.low >= limit:
        return HOLDS
    return FAILS if interval.high < limit else OPEN


def below(interval: Interval, limit: float) -> str:
    """Say whether all of an interval is at or below a limit, above it, or neither."""
    mirrored = replace(interval, low=-interval.high, high=-interval.low)
    return above(mirrored, -limit)


def worst(verdicts: Sequence[str]) -> str:
    """Return what holds of all together."""
    return next((one for one in (FAILS, OPEN) if one in verdicts), HOLDS)


def check_claims(pairs: Sequence[Pair]) -> list[Claim]:
    """Return every claim with a finding for each pair it is about."""
    of_each = [
        Claim(text, criterion, {pair.name: find(pair) for pair in pairs})
        for text, criterion, find in _OF_A_PAIR
    ]
    by_name = {pair.name: pair for pair in pairs}
    return [*of_each, *(Claim(text, why, find(by_name)) for text, why, find in _OF_SOME)]


def _memory(pair: Pair) -> Finding:
    full, compressed = (side.acting[ALONE]['policy_resident_mb'] for side in pair.sides.values())
    saved_mb = full - compressed
    return Finding(
        HOLDS if saved_mb >= MEMORY_SAVED_MB else FAILS,
        f'{full:.0f} MB - {compressed:.0f} MB = {saved_mb:.0f} MB less',
    )


def _cpu(pair: Pair) -> Finding:
    differences = pair.cpu_differences()
    return Finding(
        worst([below(difference, 0.0) for difference in differences.values()]),
        '; '.join(f'{name} {difference} % of a core' for name, difference in differences.items()),
    )


def _stutter(pair: Pair) -> Finding:
    smooth = _smoothness(pair.full)
    return replace(
        smooth, verdict={HOLDS: FAILS, FAILS: HOLDS}.get(smooth.verdict, smooth.verdict)
    )


def _smoothness(side: Side) -> Finding:
    """Return whether images came in time, alone and loaded."""
    shares = {
        name: one['pictures'].late_share for name, one in side.acting.items() if one['pictures']
    }
    if not shares:
        return Finding(MISSING, 'nothing was rendered')
    figures = (f'{name} {_percent(share)} late' for name, share in shares.items())
    verdict = worst([below(share, LATE_SHARE) for share in shares.values()])
    return Finding(verdict, '; '.join(figures))


def _percent(share: Interval) -> str:
    return f'{100 * share.estimate:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]'


def _highest_cpu(pair: Pair) -> Finding:
    cores = os.cpu_count() or 1
    highest = pair.full.acting[ALONE]['loop_cpu_percent_max'] / cores
    return Finding(
        HOLDS if highest >= HIGHEST_CPU_PERCENT else FAILS,
        f'up to {highest:.0f} % of {cores} cores',
    )


def _accuracy(pair: Pair) -> Finding:
    full, compressed = pair.full.returns, pair.compressed.returns
    if full.shape != compressed.shape:
        return Finding(
            OPEN, f'{full.size} and {counted(compressed.size, "whole episode")}: no pairs'
        )
    if full.size < FEWEST_EPISODES:
        return Finding(OPEN, f'{full.size} episodes are too few for an interval')
    kept = kept_interval(compressed, full)
    if np.isnan(kept.estimate):
        return Finding(
            OPEN, f'the full policy returns {full.mean():.1f}: a share of it says nothing'
        )
    return Finding(
        above(kept, RETURN_KEPT), f'{_percent(kept)} of the return kept over {full.size} episodes'
    )


def _size(pair: Pair) -> Finding:
    if not pair.float_bytes:
        return Finding(MISSING, 'the artifact has no float32 TFLite file')
    share = pair.compressed.file_bytes / pair.float_bytes
    return Finding(
        HOLDS if share <= QUARTER else FAILS,
        f'{pair.compressed.file_bytes} of {pair.float_bytes} bytes: {share:.1%}',
    )


def _ppo_moves_best(pairs: Mapping[str, Pair]) -> dict[str, Finding]:
    missing = [name for name in ('ppo', 'actor_critic') if name not in pairs]
    if missing:
        return {ALL_MODELS: Finding(MISSING, f'without {" and ".join(missing)}')}
    ppo, other = (pairs[name].full.distances_m for name in ('ppo', 'actor_critic'))
    if min(ppo.size, other.size) < FEWEST_EPISODES:
        return {ALL_MODELS: Finding(OPEN, f'{ppo.size} episodes are too few for an interval')}
    difference = unpaired_difference(other, ppo)
    return {ALL_MODELS: Finding(above(difference, 0.0), f'{difference} m further')}


def _hardly_moves(pairs: Mapping[str, Pair]) -> dict[str, Finding]:
    pair = pairs.get('actor_critic')
    if pair is None:
        return {ALL_MODELS: Finding(MISSING, 'without actor_critic')}
    if pair.compressed.distances_m.size < FEWEST_EPISODES:
        return {pair.name: Finding(OPEN, 'too few episodes for an interval')}
    distance = mean_interval(pair.compressed.distances_m)
    return {pair.name: Finding(below(distance, HARDLY_M), f'{distance} m')}


_OF_A_PAIR: tuple[tuple[str, str, Callable[[Pair], Finding]], ...] = (
    (
        'at least 1 GB less memory in use',
        f'resident memory of the policy process, full minus compressed, is at least '
        f'{MEMORY_SAVED_MB:.0f} MB',
        _memory,
    ),
    (
        'lower average CPU',
        'CPU of the policy process: the 95 % interval of compressed minus full is below 0, '
        'with and without load',
        _cpu,
    ),
    (
        'no visible stutter with the compressed policy',
        f'at most {LATE_SHARE:.0%} of the rendered images come later than 1.5 periods after '
        f'the one before (the whole 95 % interval), with and without load',
        lambda pair: _smoothness(pair.compressed),
    ),
    (
        'with the full model, rendering stutters',
        f'more than {LATE_SHARE:.0%} of the rendered images are late, with or without load',
        _stutter,
    ),
    (
        f'with the full model, CPU up to {HIGHEST_CPU_PERCENT:.0f} %',
        f'the busiest second of policy and simulator, without load, takes at least '
        f"{HIGHEST_CPU_PERCENT:.0f} % of this machine's cores",
        _highest_cpu,
    ),
    (
        'quantization costs at most 1 to 2 % accuracy',
        f'the return kept over the same seeds is at least {RETURN_KEPT:.0%} (the whole 95 % '
        f'interval)',
        _accuracy,
    ),
    (
        'quantization leaves a quarter of the size',
        f'the compressed file has at most {QUARTER:.1%} of the float32 TFLite file',
        _size,
    ),
)
_OF_SOME: tuple[tuple[str, str, Callable[[Mapping[str, Pair]], dict[str, Finding]]], ...] = (
    (
        'PPO moves best',
        "full PPO goes further than the full actor-critic (the difference's 95 % interval)",
        _ppo_moves_best,
    ),
    (
        'the compressed actor-critic hardly moves',
        f'it goes at most {HARDLY_M:g} m per episode (the whole 95 % interval of the mean)',
        _hardly_moves,
    ),
)
