"""``python -m rl_edge_eval replay``: would other policies have done the same?"""

import argparse
import itertools
import math
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from rl_edge_core.errors import ConfigurationError, RlEdgeError, SpecMismatchError
from rl_edge_core.wording import counted
from rl_edge_eval.bag.messages import BagError
from rl_edge_eval.metrics.series import Percentiles
from rl_edge_eval.output.columns import (
    STANDARD_OUTPUT,
    make_console,
    number,
    text_table,
    write_json,
)
from rl_edge_eval.recorded_steps import RecordedSteps, Step
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy

RECORDED = 'recorded'
"""Name of the actions in the bag, beside those of the models."""
_BLOCK_STEPS = 256
"""Steps that one model takes in a row: its code and weights are then as warm as in a node."""


@dataclass(frozen=True)
class Parting:
    """A step at which two sources of actions differ."""

    episode: int
    step: int
    joint: str
    first: float
    second: float

    def __str__(self) -> str:
        """Write where they differ, and how."""
        return (
            f'episode {self.episode} step {self.step} {self.joint} '
            f'({number(self.first)} against {number(self.second)})'
        )


@dataclass(frozen=True)
class Agreement:
    """How far two sources of actions agree, joint by joint."""

    first: str
    second: str
    steps: int
    joints: tuple[str, ...]
    rmse: tuple[float, ...]
    max_difference: tuple[float, ...]
    correlation: tuple[float, ...]
    """Pearson's; NaN where one of the two never moves the joint."""
    rmse_all: float
    """Over all joints."""
    parted_steps: int
    """Steps with a joint further apart than the threshold."""
    parts_first: Parting | None
    parts_most: Parting | None


@dataclass(frozen=True)
class ReplayedModel:
    """A model that was replayed."""

    name: str
    model_hash: str
    runtime: str
    act_us: Percentiles
    rejected: int
    """Observations that it refused to answer."""


@dataclass(frozen=True)
class Replay:
    """The outcome of a replay."""

    bag: str
    robot: str
    steps: int
    threshold: float
    models: tuple[ReplayedModel, ...]
    agreements: tuple[Agreement, ...]
    notes: tuple[str, ...]


class _Actor:
    """A model, its actions and what they took."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name, self.policy = name, policy
        self.actions: list[np.ndarray] = []
        self._times_us = array('f')

    def act(self, steps: Sequence[Step]) -> None:
        """Take its action at each step; NaN where it refuses the observation."""
        for step in steps:
            begin = time.perf_counter_ns()
            try:
                action = self.policy.act(step.observation)
            except RlEdgeError:
                action = np.full(self.policy.spec.action_size, np.nan, np.float32)
            else:
                self._times_us.append((time.perf_counter_ns() - begin) * 1e-3)
            self.actions.append(np.array(action, np.float32))

    def outcome(self) -> ReplayedModel:
        """Return what is known of the model."""
        return ReplayedModel(
            name=self.name,
            model_hash=self.policy.model_hash,
            runtime=self.policy.runtime,
            act_us=Percentiles.of(np.frombuffer(self._times_us, np.float32)),
            rejected=len(self.actions) - len(self._times_us),
        )


def replay(
    path: Path,
    policies: Sequence[tuple[str, Policy]],
    *,
    robot: str | None = None,
    threshold: float = 0.1,
) -> Replay:
    """Run the recorded observations of ``robot`` through ``policies``, given as (name, policy).

    ``threshold``, in units of the action, is from where two actions count as parted. Raise
    SpecMismatchError for a policy that was made for another environment.
    """
    recorded = RecordedSteps(path, robot)
    for name, policy in policies:
        if differences := recorded.spec.differences(policy.spec):
            raise SpecMismatchError(
                f'{name} was made for another environment than the bag was recorded in (bag '
                f'against model): {"; ".join(differences)}'
            )
    actors = [_Actor(name, policy) for name, policy in policies]
    actions: list[np.ndarray] = []
    addresses: list[tuple[int, int]] = []
    rest = iter(recorded)
    while block := list(itertools.islice(rest, _BLOCK_STEPS)):
        addresses.extend((step.episode, step.step) for step in block)
        actions.extend(step.action for step in block)
        for actor in actors:
            actor.act(block)
    if not addresses:
        raise BagError(f'{path}: no transition of {recorded.robot or "/"} that can be replayed')
    sources = [(RECORDED, np.stack(actions))]
    sources += [(actor.name, np.stack(actor.actions)) for actor in actors]
    return Replay(
        bag=str(path),
        robot=recorded.robot,
        steps=len(addresses),
        threshold=threshold,
        models=tuple(actor.outcome() for actor in actors),
        agreements=tuple(
            _agreement(*pair, addresses, recorded.spec.action_names, threshold)
            for pair in itertools.combinations(sources, 2)
        ),
        notes=recorded.bag.notes.lines,
    )


def _agreement(
    first: tuple[str, np.ndarray],
    second: tuple[str, np.ndarray],
    addresses: Sequence[tuple[int, int]],
    joints: tuple[str, ...],
    threshold: float,
) -> Agreement:
    """Compare two sources of actions, each with its name, shape (steps, action_size)."""
    both = np.isfinite(first[1]).all(axis=1) & np.isfinite(second[1]).all(axis=1)
    one, other = first[1][both].astype(np.float64), second[1][both].astype(np.float64)
    apart = np.abs(one - other)
    largest = apart.max(axis=1, initial=0.0)
    rmse = np.sqrt((apart**2).mean(axis=0)) if len(apart) else np.zeros(len(joints))

    def parting(index: int) -> Parting:
        joint = int(apart[index].argmax())
        address = addresses[int(np.flatnonzero(both)[index])]
        values = float(one[index, joint]), float(other[index, joint])
        return Parting(*address, joints[joint], *values)

    parted = np.flatnonzero(largest > threshold)
    return Agreement(
        first=first[0],
        second=second[0],
        steps=len(apart),
        joints=joints,
        rmse=tuple(rmse.tolist()),
        max_difference=tuple(apart.max(axis=0, initial=0.0).tolist()),
        correlation=tuple(correlations(one, other).tolist()),
        rmse_all=math.sqrt(float((rmse**2).mean())),
        parted_steps=len(parted),
        parts_first=parting(int(parted[0])) if len(parted) else None,
        parts_most=parting(int(largest.argmax())) if largest.any() else None,
    )


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each column, both of shape (n, columns).

    NaN where one of the two never moves, but for what rounding leaves of its spread.
    """
    if not len(first):
        return np.full(first.shape[1], np.nan)
    first, second = (values - values.mean(axis=0) for values in (first, second))
    spread = (first**2).mean(axis=0) * (second**2).mean(axis=0)
    spread[spread <= 1e-18] = np.nan
    return np.asarray((first * second).mean(axis=0) / np.sqrt(spread))


def run(arguments: argparse.Namespace) -> None:
    """Replay the bag through the models and print how far they agree."""
    if not arguments.threshold > 0:
        raise ConfigurationError(f'--threshold is {arguments.threshold}, must be above 0')
    loaded = [(path, load_policy(path, runtime=arguments.runtime)) for path in arguments.models]
    policies = [(_name_of(path, policy), policy) for path, policy in loaded]
    outcome = replay(arguments.bag, policies, robot=arguments.robot, threshold=arguments.threshold)
    console = make_console(data_on_stdout=arguments.json == STANDARD_OUTPUT)
    title = f'[bold]{outcome.bag}[/bold] {outcome.robot}: {counted(outcome.steps, "step")}'
    console.print(title, highlight=False)
    models = [
        (model.name, model.runtime, str(model.act_us), str(model.rejected))
        for model in outcome.models
    ]
    headings = ('model', 'runtime', 'act us p50/p99/max', 'rejected')
    console.print(text_table(headings, models, title='models'))
    for agreement in outcome.agreements:
        _print_agreement(console, agreement, outcome.threshold)
    for note in outcome.notes:
        console.print(f'  [yellow]note[/yellow] {note}', highlight=False)
    if arguments.json:
        write_json(arguments.json, outcome)


def _name_of(path: str, policy: Policy) -> str:
    """Name the file that was loaded; a folder holds several."""
    file = policy.model_id.rpartition('/')[2]
    return path if path.endswith(file) else f'{path}/{file}'


def _print_agreement(console: Console, agreement: Agreement, threshold: float) -> None:
    values = (agreement.rmse, agreement.max_difference, agreement.correlation)
    rows = [
        (name, number(rmse), number(largest), number(correlation, digits=3))
        for name, rmse, largest, correlation in zip(agreement.joints, *values, strict=True)
    ]
    title = f'{agreement.second} against {agreement.first}, {counted(agreement.steps, "step")}'
    console.print(title, highlight=False, soft_wrap=True)
    console.print(text_table(('action', 'RMSE', 'maximum', 'correlation'), rows))
    share = 100.0 * agreement.parted_steps / max(agreement.steps, 1)
    apart = f'no step further apart than {threshold:g}'
    if agreement.parts_first:
        apart = (
            f'further apart than {threshold:g} on {counted(agreement.parted_steps, "step")} '
            f'({share:.1f} %), first in {agreement.parts_first}'
        )
    most = f'; most in {agreement.parts_most}' if agreement.parts_most else ''
    console.print(
        f'RMSE over all joints {number(agreement.rmse_all)}; {apart}{most}',
        highlight=False,
        soft_wrap=True,
    )
