"""Would another policy have done the same? Recorded observations through other models."""

import math
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError, RlEdgeError, SpecMismatchError
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import Decoder, DecodingError, decoder_of
from rl_edge_eval.bag.messages import BagError, BagTopic
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
    action: np.ndarray | None
    """As applied; None where the policy did not answer this observation."""


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


class AgreementRecord:
    """Sums over the steps of two sources of actions."""

    def __init__(self, size: int, *, threshold: float) -> None:
        """Start with no step; ``threshold`` is in units of the action."""
        self._threshold = threshold
        self.steps = 0
        self._first, self._second, self._first2, self._second2, self._product = np.zeros((5, size))
        self._squares, self.largest = np.zeros((2, size))
        self.parted_steps = 0
        self.parts_first: tuple[Step, int, float, float] | None = None
        self.parts_most: tuple[Step, int, float, float] | None = None
        self._most = 0.0

    def add(self, step: Step, first: np.ndarray, second: np.ndarray) -> None:
        """Take the two actions of one step, each of shape (action_size,)."""
        first, second = first.astype(np.float64), second.astype(np.float64)
        apart = np.abs(first - second)
        self.steps += 1
        self._first += first
        self._second += second
        self._first2 += first * first
        self._second2 += second * second
        self._product += first * second
        self._squares += apart * apart
        np.maximum(self.largest, apart, out=self.largest)
        joint = int(apart.argmax())
        parting = (step, joint, float(first[joint]), float(second[joint]))
        if apart[joint] > self._threshold:
            self.parted_steps += 1
            self.parts_first = self.parts_first or parting
        if apart[joint] > self._most:
            self._most, self.parts_most = float(apart[joint]), parting

    def rmse(self) -> np.ndarray:
        """Return the root mean square difference of each joint."""
        return np.sqrt(self._squares / max(self.steps, 1))

    def correlation(self) -> np.ndarray:
        """Return Pearson's correlation of each joint."""
        count = max(self.steps, 1)
        covariance = self._product - self._first * self._second / count
        spreads = (self._first2 - self._first**2 / count) * (
            self._second2 - self._second**2 / count
        )
        # Rounding leaves a tiny spread where a joint never moves.
        moves = spreads > (1e-9 * count) ** 2
        return np.where(moves, covariance / np.sqrt(np.where(moves, spreads, 1.0)), np.nan)


@dataclass
class _Replayed:
    name: str
    policy: Policy
    times_us: array = field(default_factory=lambda: array('f'))
    rejected: int = 0

    def act(self, steps: Sequence[Step]) -> list[np.ndarray | None]:
        """Return its action at each step; None where it refuses the observation."""
        actions: list[np.ndarray | None] = []
        for step in steps:
            begin = time.perf_counter_ns()
            try:
                action = self.policy.act(step.observation)
            except RlEdgeError:
                self.rejected += 1
                actions.append(None)
                continue
            self.times_us.append((time.perf_counter_ns() - begin) * 1e-3)
            actions.append(np.array(action, np.float32))
        return actions


class RecordedSteps:
    """The steps of one robot of a bag, with the environment they belong to."""

    def __init__(self, path: Path, robot: str | None) -> None:
        """Find the environment of ``robot`` (its namespace; None for the only one there is).

        Raise BagError when the bag has no steps or no environment, ConfigurationError when the
        robot is not in it or has to be named.
        """
        self.bag = Bag(path)
        environments, robots = _survey(Bag(path))
        self.robot = _chosen(robot, robots, path)
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
        decoders: dict[BagTopic, Decoder | None] = {}
        for topic, time_ns, data in self.bag:
            if topic not in decoders:
                decoders[topic] = self._decoder_of(topic)
            decode = decoders[topic]
            if decode is not None and (step := self._step(decode, topic, data, time_ns)):
                yield step

    def _decoder_of(self, topic: BagTopic) -> Decoder | None:
        is_ours = (
            topic.message_type == TRANSITION_TYPE and topic.name.rpartition('/')[0] == self.robot
        )
        return decoder_of(topic, needs=TRANSITION_FIELDS) if is_ours else None

    def _step(self, decode: Decoder, topic: BagTopic, data: bytes, time_ns: int) -> Step | None:
        try:
            row = decode(data)
            observation = np.array(row.observation, np.float32)
            action = np.array(row.action, np.float32)
        except DecodingError:
            raise
        except Exception as error:  # malformed bytes raise many types
            self.bag.notes.add(
                f'{topic.name}: messages that cannot be decoded are left out',
                f'{type(error).__name__}: {error}',
            )
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
        return Step(row.episode, row.step, observation, action if answered else None)


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
        _check_spec(name, policy.spec, steps.spec)
    models = [_Replayed(name, policy) for name, policy in policies]
    names = [RECORDED, *(model.name for model in models)]
    records = {
        (a, b): AgreementRecord(steps.spec.action_size, threshold=threshold)
        for a in range(len(names))
        for b in range(a + 1, len(names))
    }
    count = 0
    for block in _blocks(steps):
        count += len(block)
        sources = [[step.action for step in block], *(model.act(block) for model in models)]
        _compare(block, sources, records)
    if not count:
        raise BagError(f'{path}: no transition of {steps.robot or "/"} that can be replayed')
    return Replay(
        bag=str(path),
        robot=steps.robot,
        steps=count,
        threshold=threshold,
        models=tuple(_outcome(model) for model in models),
        agreements=tuple(
            _agreement(names[a], names[b], record, steps.spec)
            for (a, b), record in records.items()
        ),
        notes=steps.bag.notes.lines,
    )


def _check_spec(name: str, made_for: EnvironmentSpec, recorded: EnvironmentSpec) -> None:
    differences = recorded.differences(made_for)
    if differences:
        raise SpecMismatchError(
            f'{name} was made for another environment than the bag was recorded in (bag against '
            f'model): {"; ".join(differences)}'
        )


def _compare(
    block: list[Step],
    sources: list[list[np.ndarray | None]],
    records: dict[tuple[int, int], AgreementRecord],
) -> None:
    for (a, b), record in records.items():
        for step, first, second in zip(block, sources[a], sources[b], strict=True):
            if first is not None and second is not None:
                record.add(step, first, second)


def _blocks(steps: RecordedSteps) -> Iterator[list[Step]]:
    block: list[Step] = []
    for step in steps:
        block.append(step)
        if len(block) == _BLOCK_STEPS:
            yield block
            block = []
    if block:
        yield block


def _survey(bag: Bag) -> tuple[dict[str, EnvironmentSpec], set[str]]:
    """Return the first environment of each robot, and the robots that have transitions."""
    environments: dict[str, EnvironmentSpec] = {}
    robots: set[str] = set()
    for topic, _, data in bag:
        namespace = topic.name.rpartition('/')[0]
        if topic.message_type == TRANSITION_TYPE:
            robots.add(namespace)
        elif topic.message_type == _ENVIRONMENT_TYPE and namespace not in environments:
            environments[namespace] = EnvironmentSpec.from_message(decoder_of(topic)(data))
    return environments, robots


def _chosen(robot: str | None, robots: set[str], path: Path) -> str:
    if not robots:
        raise BagError(f'{path} has no transitions: there is nothing to replay')
    listed = ', '.join(sorted(name or '/' for name in robots))
    if robot is None and len(robots) > 1:
        raise ConfigurationError(f'{path} has several robots, name one: {listed}')
    name = next(iter(robots)) if robot is None else f'/{robot.strip("/")}'.rstrip('/')
    if name not in robots:
        raise ConfigurationError(f'{path} has no robot {robot!r}; it has {listed}')
    return name


def _outcome(model: _Replayed) -> ReplayedModel:
    return ReplayedModel(
        name=model.name,
        model_hash=model.policy.model_hash,
        runtime=model.policy.runtime,
        act_us=Percentiles.of(np.frombuffer(model.times_us, np.float32)),
        rejected=model.rejected,
    )


def _agreement(
    first: str, second: str, record: AgreementRecord, spec: EnvironmentSpec
) -> Agreement:
    rmse = record.rmse()
    return Agreement(
        first=first,
        second=second,
        steps=record.steps,
        joints=spec.action_names,
        rmse=tuple(rmse.tolist()),
        max_difference=tuple(record.largest.tolist()),
        correlation=tuple(record.correlation().tolist()),
        rmse_all=math.sqrt(float((rmse**2).mean())),
        parted_steps=record.parted_steps,
        parts_first=_parting(record.parts_first, spec),
        parts_most=_parting(record.parts_most, spec),
    )


def _parting(
    found: tuple[Step, int, float, float] | None, spec: EnvironmentSpec
) -> Parting | None:
    if found is None:
        return None
    step, joint, first, second = found
    return Parting(step.episode, step.step, spec.action_names[joint], first, second)
