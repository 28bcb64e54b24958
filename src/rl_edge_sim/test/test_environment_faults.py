"""Broken environments are named with environment, field and step."""

from typing import ClassVar

import gymnasium
import numpy as np
import pytest

from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_sim.environment_faults import BrokenEnvironmentError
from rl_edge_sim.rollout import rollout


class Breaking(gymnasium.Env):
    """Two values observed, one driven; breaks in the way and at the step that it is told."""

    metadata: ClassVar[dict] = {
        'render_modes': [],
        'render_fps': 10,
        'neutral_arguments': ('color',),
    }
    action_space = gymnasium.spaces.Box(-0.1, 0.1, (1,), np.float64)
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(self, how='', at=3, color='red'):
        self.how, self.at, self.steps = how, at, 0
        self.array = np.zeros(2, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        # Its very first reset is the one that looks at the reward terms.
        if self.how == 'no reset' and seed:
            return None
        if self.how == 'nan at reset' and seed:
            return np.array([0.0, np.nan]), {}
        self.array[:] = 0.0
        return self.array, {}

    def step(self, action):
        self.steps += 1
        self.array[:] = self.steps
        info = {'reward_walk': 1.0}
        returned = self.array, 1.0, False, self.steps == 6, info
        if self.steps != self.at + 1:
            return returned
        return {
            '': returned,
            'bonus': (self.array, 51.0, False, False, {'reward_bonus': 50.0, **info}),
            'nan': (np.array([np.nan, 0.0]), *returned[1:]),
            'shape': (np.zeros(3), *returned[1:]),
            'text': ('here', *returned[1:]),
            'old step': (self.array, 1.0, False, info),
            'huge reward': (self.array, 1e30, False, False, info),
            'nan reward': (self.array, np.nan, False, False, info),
        }[self.how]


@pytest.fixture(scope='module', autouse=True)
def registered():
    gymnasium.register('Breaking-v0', entry_point=Breaking, max_episode_steps=8)
    yield
    del gymnasium.registry['Breaking-v0']


def run(**arguments):
    steps = []
    results = rollout(
        make_environment('Breaking-v0', **arguments), lambda _: [0.0], [5], steps.append
    )
    return results, steps


@pytest.mark.parametrize(
    ('how', 'fault'),
    [
        ('no reset', r'Breaking-v0 is broken at its reset of the episode with seed 5.*None'),
        ('nan at reset', r'at its reset .* observation\[1\] is nan'),
        ('nan', r'at step 3 of the episode with seed 5: observation\[0\] is nan, must be finite'),
        ('shape', r'at step 3 .* observation has shape \(3,\), its space says \(2,\)'),
        ('text', r"at step 3 .* observation is 'here', must be numbers"),
        ('old step', r'at step 3 .* step must return \(observation, reward, terminated, trunc'),
        ('huge reward', r'at step 3 .* reward is 1e\+30, .* scale the rewards'),
        ('nan reward', r'at step 3 .* reward is nan'),
    ],
)
def test_what_a_broken_environment_returns_is_named(how, fault):
    with pytest.raises(BrokenEnvironmentError, match=fault):
        run(how=how)


def test_one_that_breaks_at_its_first_step_is_not_made():
    with pytest.raises(BrokenEnvironmentError, match='at step 0'):
        make_environment('Breaking-v0', how='nan', at=0)


def test_a_bonus_that_comes_later_is_in_the_rest():
    (result,), _ = run(how='bonus')
    assert result.reward_terms == {'walk': 6.0, 'other': 50.0}
    assert result.episode_return == 56.0


def test_an_environment_that_uses_its_array_again_leaves_observations_alone():
    _, steps = run()
    assert [step.observation[0] for step in steps] == [0, 1, 2, 3, 4, 5]
    assert [step.next_observation[0] for step in steps] == [1, 2, 3, 4, 5, 6]


def test_limits_of_float64_are_rounded_inwards():
    spec = spec_of(make_environment('Breaking-v0'))
    assert float(np.float32(0.1)) > 0.1  # what plain rounding gives
    assert 0.0999999 < spec.action_high[0] <= 0.1
    assert -0.1 <= spec.action_low[0] < -0.0999999


def test_arguments_that_an_environment_declares_neutral_are_in_no_specification():
    red, blue = (spec_of(make_environment('Breaking-v0', color=c)) for c in ('red', 'blue'))
    later = spec_of(make_environment('Breaking-v0', at=4))
    assert red.hash == blue.hash != later.hash
    assert red.differences(later)
