"""The steps of a robot as a bag has them: what a replay gives to other policies."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import decoded
from rl_edge_eval.bag.messages import BagError, BagTopic, choose_robot, parent_of
from rl_edge_eval.metrics.records import TRANSITION_FIELDS, TRANSITION_TYPE, RobotRecord


class Step(NamedTuple):
    """One recorded step."""

    episode: int
    step: int
    observation: np.ndarray
    action: np.ndarray
    """As applied; NaN where the policy did not answer this observation."""


class RecordedSteps:
    """The steps of one robot of a bag, with the environment they belong to."""

    def __init__(self, path: Path, robot: str | None) -> None:
        """Find the environment of ``robot`` (its namespace; None for the only one there is).

        Raise BagError when the bag has no steps or no environment, ConfigurationError when the
        robot is not in it or has to be named.
        """
        self.bag, survey = Bag(path), Bag(path)
        environments: dict[str, Any] = {}
        for topic, _, message in decoded(survey, _is_environment):
            environments.setdefault(parent_of(topic.name), message)
        robots = {
            parent_of(topic.name)
            for topic, count in survey.message_counts.items()
            if count and topic.message_type == TRANSITION_TYPE
        }
        if not robots:
            raise BagError(f'{path} has no transitions: there is nothing to replay')
        self.robot = choose_robot(path, robot, robots)
        if self.robot not in environments:
            raise BagError(
                f'{path}: no environment was recorded for {self.robot or "/"}: whether a model '
                f'was made for it cannot be told; record the topic environment as well'
            )
        self.spec = EnvironmentSpec.from_message(environments[self.robot])
        self._record = RobotRecord(self.robot, self.bag.notes)
        self._record.use_spec(self.spec)

    def __iter__(self) -> Iterator[Step]:
        """Yield each step once."""
        for _, time_ns, row in decoded(self.bag, self._has_steps, needs=TRANSITION_FIELDS):
            if not self._record.add_transition(row, time_ns):
                continue
            observation = np.array(row.observation, np.float32)
            action = np.array(row.action, np.float32)
            if fault := self.spec.fault_of_observation(observation):
                self.bag.notes.add(
                    f'{self.robot}: observations that are not valid are left out',
                    f'episode {row.episode} step {row.step}: {fault}',
                )
                continue
            # Without an answer the simulator holds the action of an earlier observation.
            if row.safe_action or math.isnan(row.response_time_us):
                action = np.full_like(action, np.nan)
            yield Step(row.episode, row.step, observation, action)

    def _has_steps(self, topic: BagTopic) -> bool:
        return topic.message_type == TRANSITION_TYPE and parent_of(topic.name) == self.robot


def _is_environment(topic: BagTopic) -> bool:
    return topic.message_type == 'rl_edge_interfaces/msg/Environment'
