import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_writer import BagWriter
from loop_messages import SPEC, environment, small_bag, transition
from rich.console import Console

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError, SpecMismatchError
from rl_edge_eval.bag.messages import BagError
from rl_edge_eval.replay import _print_agreement, correlations, replay
from rl_edge_policy.policy import RejectedObservationError


class LinearPolicy:
    """Actions are a matrix times the observation."""

    model_id, model_hash, recipe, runtime = 'test/linear', 'f' * 64, 'linear', 'numpy'

    def __init__(self, matrix: np.ndarray, spec: EnvironmentSpec = SPEC) -> None:
        self.spec = spec
        self._matrix = matrix.astype(np.float32)

    def act(self, observation: np.ndarray) -> np.ndarray:
        if fault := self.spec.fault_of_observation(observation):
            raise RejectedObservationError(fault)
        return self.spec.limit(self._matrix @ observation)


# Observations of the bag are (0.5, step, episode): these matrices make actions known by heart.
FIRST = LinearPolicy(np.array([[0.2, 0.1, 0.0], [0.0, 0.0, 0.0]]))
SECOND = LinearPolicy(np.array([[0.2, 0.1, 0.25], [1.0, 0.0, 0.0]]))


def test_agreement_worked_by_hand(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / 'bag')
    outcome = replay(bag, [('a', FIRST), ('b', SECOND)], threshold=0.55)
    assert (outcome.steps, outcome.robot) == (8, '/ant0')
    assert [(one.first, one.second) for one in outcome.agreements] == [
        ('recorded', 'a'),
        ('recorded', 'b'),
        ('a', 'b'),
    ]
    recorded, _, models = outcome.agreements
    assert recorded.joints == ('hip', 'ankle')
    # Recorded hip is 0.1 throughout, of the first model 0.1 + 0.1 step: apart by 0, .1, .2, .3.
    assert recorded.rmse[0] == pytest.approx(math.sqrt((0.01 + 0.04 + 0.09) / 4))
    assert recorded.max_difference[0] == pytest.approx(0.3)
    assert math.isnan(recorded.correlation[0])
    assert recorded.parted_steps == 0
    assert recorded.parts_first is None
    # The models differ by 0.25 on the hip in episode 1 alone, and by 0.5 on the ankle throughout.
    assert models.rmse == pytest.approx((0.25 * math.sqrt(0.5), 0.5))
    assert models.rmse_all == pytest.approx(math.sqrt((0.5 * 0.0625 + 0.25) / 2))
    # Hip: x = .1 + .1 s, y = x + .25 e, s and e independent: r = sd(x) / sd(y).
    expected = math.sqrt(0.0125 / (0.0125 + 0.015625))
    assert models.correlation[0] == pytest.approx(expected, abs=1e-5)
    assert math.isnan(models.correlation[1])
    assert models.parts_most is not None
    assert (models.parts_most.joint, models.parts_most.second) == ('ankle', 0.5)


def test_where_models_part(tmp_path: Path) -> None:
    outcome = replay(small_bag(tmp_path / 'bag'), [('a', FIRST)], threshold=0.25)
    (agreement,) = outcome.agreements
    # The hip is 0.3 apart at step 3 of each episode.
    assert agreement.parted_steps == 2
    assert agreement.parts_first is not None
    assert (agreement.parts_first.episode, agreement.parts_first.step) == (0, 3)
    assert agreement.parts_first.joint == 'hip'
    assert agreement.parts_first.second == pytest.approx(0.4)
    assert outcome.models[0].act_us.count == 8


def test_policy_agrees_with_itself(tmp_path: Path) -> None:
    outcome = replay(small_bag(tmp_path / 'bag'), [('a', SECOND), ('again', SECOND)])
    twins = outcome.agreements[-1]
    assert twins.rmse == (0.0, 0.0)
    assert twins.correlation[0] == pytest.approx(1.0)
    assert twins.parts_most is None


@pytest.mark.parametrize('unanswered', [{'safe_action': True}, {'response_time_us': math.nan}])
def test_steps_without_an_answer_are_not_compared_with_the_recording(
    tmp_path: Path, unanswered: dict[str, Any]
) -> None:
    """In real time a late policy leaves a step with the action of the one before."""
    writer = BagWriter(tmp_path / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    for step in range(4):
        values = transition(0, step, **(unanswered if step == 3 else {}))
        writer.add('/ant0/transition', 'Transition', values, time_sec=2 + step)
    writer.close()
    recorded, models = (
        replay(tmp_path / 'bag', [('a', FIRST), ('b', SECOND)]).agreements[i] for i in (0, 2)
    )
    assert (recorded.steps, models.steps) == (3, 4)


def test_observations_that_are_not_valid_are_left_out(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    observations = [[0, 0, 0], [0, math.nan, 0], [0, 0], [0, 1, 0]]
    for step, values in enumerate(observations):
        one = transition(0, step, observation=np.array(values, np.float32))
        writer.add('/ant0/transition', 'Transition', one, time_sec=2 + step)
    writer.close()
    outcome = replay(tmp_path / 'bag', [('a', FIRST)])
    assert outcome.steps == 2
    assert any('not valid' in note and 'step 1' in note for note in outcome.notes)
    assert any('wrong size' in note and 'step 2' in note for note in outcome.notes)


def test_model_for_another_environment_is_refused_by_field(tmp_path: Path) -> None:
    other = dataclasses.replace(SPEC, action_high=(1.0, 0.5), control_period_sec=0.02)
    policy = LinearPolicy(np.zeros((2, 3)), other)
    with pytest.raises(SpecMismatchError) as refusal:
        replay(small_bag(tmp_path / 'bag'), [('small', policy)])
    assert 'action_high[1]: 1.0 against 0.5' in str(refusal.value)
    assert 'control_period_sec: 0.05 against 0.02' in str(refusal.value)


def test_robot_has_to_be_named_when_there_are_several(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for robot in ('/ant0', '/ant1'):
        writer.add(f'{robot}/environment', 'Environment', environment(), time_sec=1)
        writer.add(f'{robot}/transition', 'Transition', transition(0, 0), time_sec=2)
    writer.close()
    with pytest.raises(ConfigurationError, match='name one: /ant0, /ant1'):
        replay(tmp_path / 'bag', [('a', FIRST)])
    assert replay(tmp_path / 'bag', [('a', FIRST)], robot='ant1').robot == '/ant1'
    with pytest.raises(ConfigurationError, match="no robot 'ant2'"):
        replay(tmp_path / 'bag', [('a', FIRST)], robot='ant2')


def test_bag_without_environment_or_transitions(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'a')
    writer.add('/ant0/transition', 'Transition', transition(0, 0), time_sec=2)
    writer.close()
    with pytest.raises(BagError, match='no environment was recorded'):
        replay(tmp_path / 'a', [('a', FIRST)])
    writer = BagWriter(tmp_path / 'b')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    writer.close()
    with pytest.raises(BagError, match='nothing to replay'):
        replay(tmp_path / 'b', [('a', FIRST)])


def test_what_is_printed_of_an_agreement(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / 'bag')
    outcome = replay(bag, [('a', FIRST), ('b', SECOND), ('c', FIRST)], threshold=0.55)
    console = Console(width=40, record=True, file=io.StringIO())
    for agreement in outcome.agreements[-3:]:
        _print_agreement(console, agreement, outcome.threshold)
    lines = console.export_text().splitlines()
    # a and b differ by 0.5 at most, a and c not at all.
    assert 'b against a, 8 steps' in lines
    assert 'RMSE over all joints 0.000; no step further apart than 0.55' in lines
    most = 'most in episode 0 step 0 ankle (0.000 against 0.500)'
    assert [line for line in lines if line.endswith(most)], lines


def test_correlation_is_that_of_numpy() -> None:
    generator = np.random.default_rng(3)
    first = generator.normal(5.0, 1.0, (300, 2))
    second = 0.5 * first + generator.normal(0.0, 0.2, (300, 2))
    for joint in range(2):
        expected = np.corrcoef(first[:, joint], second[:, joint])[0, 1]
        assert correlations(first, second)[joint] == pytest.approx(expected, abs=1e-9)
