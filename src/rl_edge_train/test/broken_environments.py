"""Environments that go wrong, for workers to import by `broken_environments:ID`."""

import gymnasium
import numpy as np


class TurnsToNan(gymnasium.Env):
    """The reward is not a number from step 20 on."""

    metadata = {'render_fps': 20}  # noqa: RUF012 - as Gymnasium declares it
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        reward = float('nan') if self.steps >= 20 else 1.0
        return np.zeros(2, np.float32), reward, False, False, {}


class Raises(TurnsToNan):
    """The simulation raises at step 20."""

    def step(self, action):
        if self.steps >= 19:
            raise FloatingPointError('the solver diverged')
        return super().step(action)


gymnasium.register('TurnsToNan-v0', TurnsToNan, max_episode_steps=100)
gymnasium.register('Raises-v0', Raises, max_episode_steps=100)
