"""Save and restore a MuJoCo environment in mid-episode, exactly, as plain arrays."""

from collections.abc import Mapping
from typing import cast

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.wrappers import TimeLimit

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.generator_state import generator_words, set_generator_words
from rl_edge_sim.mujoco_names import is_mujoco
from rl_edge_sim.reward_terms import RewardTerms, StudyShaping, find_wrapper

State = dict[str, np.ndarray]

_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION
_DERIVED = (
    'xpos',
    'xquat',
    'xmat',
    'xipos',
    'geom_xpos',
    'site_xpos',
    'subtree_com',
    'cinert',
    'cvel',
    'ten_length',
    'ten_velocity',
    'qfrc_actuator',
    'qfrc_constraint',
    'cfrc_ext',
    'sensordata',
)
"""What environments observe or take differences of, and MuJoCo computes within a step.

They belong to the positions before the last of the sub-steps, so computing them anew from the
restored positions would give the next step another velocity reward.
"""


def snapshot(env: gymnasium.Env) -> State:
    """Return the state of ``env``, from `make_environment` and reset, for `restore`.

    It holds MuJoCo's integration state, the quantities observed from it, the steps taken, the
    random generator and the reward shaping's state. ``numpy.savez(path, **state)`` stores it, and
    loading it needs no pickle. Raise ConfigurationError for other than MuJoCo environments.
    """
    simulation = _simulation(env)
    physics = np.empty(mujoco.mj_stateSize(simulation.model, _PHYSICS))
    mujoco.mj_getState(simulation.model, simulation.data, physics, _PHYSICS)
    state = {f'derived_{name}': np.array(getattr(simulation.data, name)) for name in _DERIVED}
    state['physics'] = physics
    state['elapsed_steps'] = np.array(_time_limit(env)._elapsed_steps, np.int64)
    state['random_generator'] = generator_words(simulation.np_random)
    shaping = _shaping(env)
    if shaping is not None:
        state['shaping'] = np.array([shaping.still_steps, *shaping.position])
    return state


def restore(env: gymnasium.Env, state: Mapping[str, np.ndarray]) -> None:
    """Put ``env`` into a state of the same environment; the next steps repeat bit for bit.

    Raise ConfigurationError for a state of another environment or another reward shaping.
    """
    simulation = _simulation(env)
    _check(env, simulation, state)
    # Whatever the environment was doing; it also tells the wrappers that it was reset.
    env.reset(seed=0)
    _set_physics(simulation, state['physics'])
    mujoco.mj_forward(simulation.model, simulation.data)
    # mj_forward computes all that a viewer needs, but moves the solver's warm start.
    _set_physics(simulation, state['physics'])
    for name in _DERIVED:
        getattr(simulation.data, name)[...] = state[f'derived_{name}']
    _time_limit(env)._elapsed_steps = int(state['elapsed_steps'])  # type: ignore[assignment]
    set_generator_words(simulation.np_random, state['random_generator'])
    shaping = _shaping(env)
    if shaping is not None:
        still_steps, x, y = (float(value) for value in state['shaping'])
        shaping.still_steps, shaping.position = int(still_steps), (x, y)


def _simulation(env: gymnasium.Env) -> MujocoEnv:
    if not is_mujoco(env):
        raise ConfigurationError(f'{env} is not a MuJoCo environment: its state cannot be saved')
    return cast(MujocoEnv, env.unwrapped)


def _set_physics(simulation: MujocoEnv, physics: np.ndarray) -> None:
    mujoco.mj_setState(simulation.model, simulation.data, physics, _PHYSICS)


def _check(env: gymnasium.Env, simulation: MujocoEnv, state: Mapping[str, np.ndarray]) -> None:
    expected = {f'derived_{name}': getattr(simulation.data, name).shape for name in _DERIVED}
    expected['physics'] = (mujoco.mj_stateSize(simulation.model, _PHYSICS),)
    expected['elapsed_steps'], expected['random_generator'] = (), (6,)
    if _shaping(env) is not None:
        expected['shaping'] = (3,)
    found = {name: values.shape for name, values in state.items()}
    if found != expected:
        differing = sorted(
            name
            for name in expected.keys() | found.keys()
            if expected.get(name) != found.get(name)
        )
        raise ConfigurationError(
            f'the state is not one of {env.spec.id if env.spec else env}: {", ".join(differing)} '
            f'differ; make the environment with the arguments it was saved with'
        )


def _time_limit(env: gymnasium.Env) -> TimeLimit:
    if (limit := find_wrapper(env, TimeLimit)) is not None:
        return limit
    raise ConfigurationError(f'{env} has no time limit: make it with max_episode_steps')


def _shaping(env: gymnasium.Env) -> StudyShaping | None:
    wrapper = find_wrapper(env, RewardTerms)
    return wrapper.shaping if wrapper else None
