"""Would another policy have done the same? Recorded observations through other models."""

import itertools
import math
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import RlEdgeError, SpecMismatchError
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import Decoder, DecodingError, decoder_of
from rl_edge_eval.bag.messages import BagError, BagTopic, choose_robot, parent_of
from rl_edge_eval.metrics.records import TRANSITION_FIELDS, TRANSITION_TYPE, RobotRecord
from rl_edge_eval.metrics.series import Percentiles
from rl_edge_policy.policy import Policy

RECORDED = 'recorded'
"""Name of the actions in the bag, beside those of the models."""
_ENVIRONMENT_TYPE = 'rl_edge_interfaces/msg/Environment'
_BLOCK_STEPS = 256
"""Steps that one model takes in a row: its code and weights are then as warm as in a node."""


class Step(NamedTuple):
    """One recorded step."""

    episode: int
    step: int
    observation: np.ndarray
    action: np.ndarray
    """As applied; NaN where the policy did not answer this observation."""


@dataclass(frozen=True)
class Parting:
    """A step at which two sources of actions differ."""

    episode: int
    step: int
    joint: str
    first: float
    second: float


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


class _Replayed:
    """A model, its actions and what they took."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name, self.policy = name, policy
        self.actions: list[np.ndarray] = []
        self.times_us = array('f')
        self.rejected = 0

    def act(self, steps: Sequence[Step]) -> None:
        """Take its action at each step; NaN where it refuses the observation."""
        actions = np.full((len(steps), self.policy.spec.action_size), np.nan, np.float32)
        for index, step in enumerate(steps):
            begin = time.perf_counter_ns()
            try:
                action = self.policy.act(step.observation)
            except RlEdgeError:
                self.rejected += 1
                continue
            self.times_us.append((time.perf_counter_ns() - begin) * 1e-3)
            actions[index] = action
        self.actions.append(actions)

    def outcome(self) -> ReplayedModel:
        """Return what is known of the model."""
        return ReplayedModel(
            name=self.name,
            model_hash=self.policy.model_hash,
            runtime=self.policy.runtime,
            act_us=Percentiles.of(np.frombuffer(self.times_us, np.float32)),
            rejected=self.rejected,
        )


class RecordedSteps:
    """The steps of one robot of a bag, with the environment they belong to."""

    def __init__(self, path: Path, robot: str | None) -> None:
        """Find the environment of ``robot`` (its namespace; None for the only one there is).

        Raise BagError when the bag has no steps or no environment, ConfigurationError when the
        robot is not in it or has to be named.
        """
        self.bag = Bag(path)
        environments, robots = _survey(Bag(path))
        if not robots:
            raise BagError(f'{path} has no transitions: there is nothing to replay')
        self.robot = choose_robot(path, robot, robots)
        if self.robot not in environments:
            raise BagError(
                f'{path}: no environment was recorded for {self.robot or "/"}: whether a model '
                f'was made for it cannot be told; record the topic environment as well'
            )
        self.spec: EnvironmentSpec = environments[self.robot]
        self._record = RobotRecord(self.robot, self.bag.notes)
        self._record.use_spec(self.spec)

    def __iter__(self) -> Iterator[Step]:
        """Yield each step once."""
        decoders: dict[BagTopic, Decoder] = {}
        for topic, time_ns, data in self.bag:
            if topic.message_type != TRANSITION_TYPE or parent_of(topic.name) != self.robot:
                continue
            if topic not in decoders:
                decoders[topic] = decoder_of(topic, needs=TRANSITION_FIELDS)
            if step := self._step(decoders[topic], topic, data, time_ns):
                yield step

    def _step(self, decode: Decoder, topic: BagTopic, data: bytes, time_ns: int) -> Step | None:
        try:
            row = decode(data)
            observation = np.array(row.observation, np.float32)
            action = np.array(row.action, np.float32)
        except DecodingError:
            raise
        except Exception as error:  # malformed bytes raise many types
            self.bag.notes.add_undecodable(topic, error)
            return None
        if not self._record.add_transition(row, time_ns):
            return None
        fault = self.spec.fault_of_observation(observation)
        if fault:
            self.bag.notes.add(
                f'{self.robot}: observations that are not valid are left out',
                f'episode {row.episode} step {row.step}: {fault}',
            )
            return None
        # Without an answer the simulator holds the action of an earlier observation.
        answered = not (row.safe_action or math.isnan(row.response_time_us))
        if not answered:
            action = np.full_like(action, np.nan)
        return Step(row.episode, row.step, observation, action)


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
    steps = RecordedSteps(path, robot)
    for name, policy in policies:
        if differences := steps.spec.differences(policy.spec):
            raise SpecMismatchError(
                f'{name} was made for another environment than the bag was recorded in (bag '
                f'against model): {"; ".join(differences)}'
            )
    models = [_Replayed(name, policy) for name, policy in policies]
    recorded: list[np.ndarray] = []
    addresses: list[tuple[int, int]] = []
    rest = iter(steps)
    while block := list(itertools.islice(rest, _BLOCK_STEPS)):
        addresses.extend((step.episode, step.step) for step in block)
        recorded.append(np.stack([step.action for step in block]))
        for model in models:
            model.act(block)
    if not addresses:
        raise BagError(f'{path}: no transition of {steps.robot or "/"} that can be replayed')
    sources = [(RECORDED, np.concatenate(recorded))]
    sources += [(model.name, np.concatenate(model.actions)) for model in models]
    return Replay(
        bag=str(path),
        robot=steps.robot,
        steps=len(addresses),
        threshold=threshold,
        models=tuple(model.outcome() for model in models),
        agreements=tuple(
            _agreement(*pair, addresses, steps.spec.action_names, threshold)
            for pair in itertools.combinations(sources, 2)
        ),
        notes=steps.bag.notes.lines,
    )


def _survey(bag: Bag) -> tuple[dict[str, EnvironmentSpec], set[str]]:
    """Return the first environment of each robot, and the robots that have transitions."""
    environments: dict[str, EnvironmentSpec] = {}
    robots: set[str] = set()
    for topic, _, data in bag:
        namespace = parent_of(topic.name)
        if topic.message_type == TRANSITION_TYPE:
            robots.add(namespace)
        elif topic.message_type == _ENVIRONMENT_TYPE and namespace not in environments:
            environments[namespace] = EnvironmentSpec.from_message(decoder_of(topic)(data))
    return environments, robots


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
    deviations = [values - values.mean(axis=0) for values in (first, second)]
    spreads = [(deviation**2).mean(axis=0) for deviation in deviations]
    covariance = (deviations[0] * deviations[1]).mean(axis=0)
    moves = spreads[0] * spreads[1] > 1e-18
    return np.where(
        moves, covariance / np.sqrt(np.where(moves, spreads[0] * spreads[1], 1.0)), np.nan
    )
