"""A broken environment is named with the field and the step, whatever it returns."""

import gymnasium
import numpy as np
import pytest

from rl_edge_sim.checked_environment import BrokenEnvironmentError, checked_reset, checked_step


class Scripted(gymnasium.Env):
    """Return what a test wants."""

    metadata = {'render_fps': 20}  # noqa: RUF012 - as Gymnasium declares it
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, answer=None, at_reset=None):
        self.answer = answer
        self.at_reset = (np.zeros(2), {}) if at_reset is None else at_reset
        self.spec = gymnasium.envs.registration.EnvSpec('Scripted-v0')

    def reset(self, *, seed=None, options=None):
        return self.at_reset

    def step(self, action):
        return self.answer


GOOD = (np.zeros(2), 1.0, False, False, {})
ACTION = np.zeros(1, np.float32)


def test_good_answers_are_copies_in_float32():
    kept = np.array([0.25, -0.5], np.float32)
    env = Scripted((kept, np.float64(2.0), np.bool_(True), False, {'a': 1}))
    observation, reward, terminated, truncated, info = checked_step(env, ACTION, step=1)
    kept[:] = 9.0  # an environment that uses its array again
    np.testing.assert_array_equal(observation, [0.25, -0.5])
    assert observation.dtype == np.float32
    assert (reward, terminated, truncated, info) == (2.0, True, False, {'a': 1})


@pytest.mark.parametrize(
    ('answer', 'message'),
    [
        ((np.zeros(3), *GOOD[1:]), r'in step 7 observation has shape \(3,\), must be \(2,\)'),
        ((np.array([0.0, np.nan]), *GOOD[1:]), r'in step 7 observation\[1\] is nan'),
        ((None, *GOOD[1:]), r'in step 7 observation'),
        (('text', *GOOD[1:]), r"in step 7 observation is 'text': no numbers"),
        ((GOOD[0], np.inf, *GOOD[2:]), r'in step 7 reward is inf'),
        ((GOOD[0], None, *GOOD[2:]), r'in step 7 reward is None: no number'),
        ((*GOOD[:2], 'no', *GOOD[3:]), r"in step 7 terminated is 'no', must be True or False"),
        ((*GOOD[:3], 0.5, {}), r'in step 7 truncated is 0\.5'),
        ((*GOOD[:4], None), r'in step 7 info is None, must be a dictionary'),
        ((GOOD[0], 1.0, False, {}), r'raised ValueError.*must return observation, reward'),
    ],
)
def test_what_a_step_may_not_return_is_named(answer, message):
    with pytest.raises(BrokenEnvironmentError, match=message) as raised:
        checked_step(Scripted(answer), ACTION, step=7)
    assert str(raised.value).startswith('environment Scripted-v0 is broken: ')


@pytest.mark.parametrize(
    ('at_reset', 'message'),
    [
        ((None, {}), 'in reset observation'),
        ((np.full(2, np.inf), {}), r'in reset observation\[0\] is inf'),
        ((np.zeros(2), None), 'in reset info is None, must be a dictionary'),
        (np.zeros(2), r'in reset observation has shape \(\), must be \(2,\)'),
        ((np.zeros(2), {}, 1), 'in reset raised ValueError'),
    ],
)
def test_what_a_reset_may_not_return_is_named(at_reset, message):
    with pytest.raises(BrokenEnvironmentError, match=message):
        checked_reset(Scripted(at_reset=at_reset), seed=1)
