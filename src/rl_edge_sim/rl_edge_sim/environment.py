"""Gymnasium environments with continuous actions, and their specification."""

import difflib
import importlib
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from rl_edge_core.environment_spec import EnvironmentSpec, arguments_as_json
from rl_edge_core.errors import ConfigurationError, RlEdgeError, SpecMismatchError
from rl_edge_sim import mujoco_names
from rl_edge_sim.reward_terms import RewardTerms, study_shaping
from rl_edge_sim.sim_parameters import REWARD_SHAPINGS

WRAPPERS = 'wrappers'
NEUTRAL_ARGUMENTS = 'neutral_arguments'
"""Key of an environment's ``metadata``: names of its arguments that, so it declares, leave
dynamics and observations alone. A policy for one value of theirs acts for any other."""
_NOT_DYNAMICS = {
    *('max_episode_steps', 'render_mode', 'width', 'height', 'camera_id', 'camera_name'),
    *('default_camera_config', 'max_geom', 'visual_options'),
}
"""Arguments that a specification has elsewhere, or that draw."""


def make_environment(
    environment_id: str,
    *,
    render_mode: str | None = None,
    reward_shaping: str = 'none',
    **kwargs: Any,
) -> gymnasium.Env:
    """Make an environment whose ``info['reward_terms']`` holds the parts of each reward.

    ``environment_id`` may be ``module:EnvId``, where importing ``module`` registers the id.
    ``kwargs`` go to the environment, but for ``wrappers``: names ``module:function`` of functions
    that each wrap it, the first one innermost. Raise ConfigurationError for an unknown id (naming
    close ones), an argument the environment does not take, actions or observations that are not a
    vector of real numbers, and a shaping that the environment has no values for;
    BrokenEnvironmentError when its first step shows that it is broken.
    """
    if reward_shaping not in REWARD_SHAPINGS:
        raise ConfigurationError(
            f'reward_shaping is {reward_shaping!r}, must be one of {", ".join(REWARD_SHAPINGS)}'
        )
    env = _make(environment_id, render_mode=render_mode, kwargs=kwargs)
    try:
        _check_spaces(environment_id, env)
        shaping = study_shaping(spec_of(env)) if reward_shaping == 'study' else None
        return RewardTerms(env, shaping)
    except RlEdgeError:
        env.close()
        raise


def environment_of(spec: EnvironmentSpec, **drawing: Any) -> gymnasium.Env:
    """Make the environment that ``spec`` describes; ``drawing`` are `make_environment`'s.

    Raise SpecMismatchError when what is made here differs from it.
    """
    arguments = spec.arguments
    registered = gymnasium.registry.get(spec.environment_id.rpartition(':')[2])
    if spec.max_episode_steps and (
        registered is None or registered.max_episode_steps != spec.max_episode_steps
    ):
        arguments['max_episode_steps'] = spec.max_episode_steps
    env = make_environment(spec.environment_id, **drawing, **arguments)
    differences = spec.differences(spec_of(env))
    if differences:
        env.close()
        raise SpecMismatchError(
            f'{spec.environment_id} here is another one than the policy was made for (policy '
            f'against simulator): {"; ".join(differences)}'
        )
    return env


def spec_of(env: gymnasium.Env) -> EnvironmentSpec:
    """Return the specification of ``env``, with and without wrappers.

    MuJoCo environments that observe positions, velocities and what Gymnasium lists beside them
    have names and units of their model; others have ``observation.0``, ``action.0`` and unit 1.
    """
    if env.spec is None:
        raise ConfigurationError(f'{env} is not registered with Gymnasium: make it by its id')
    _check_spaces(env.spec.id, env)
    (observation_size,), (action_size,) = env.observation_space.shape, env.action_space.shape  # type: ignore[misc]
    observations = [(f'observation.{index}', '1') for index in range(observation_size)]
    actions = [(f'action.{index}', '1') for index in range(action_size)]
    if mujoco_names.is_mujoco(env):
        observations = mujoco_names.observation_signals(env) or observations
        actions = mujoco_names.action_signals(env) or actions
    environment_id, arguments = getattr(env.unwrapped, '_rl_edge_made_from', (env.spec.id, {}))
    neutral = _NOT_DYNAMICS | set(env.metadata.get(NEUTRAL_ARGUMENTS, ()))
    arguments = {name: arguments[name] for name in arguments if name not in neutral}
    low, high = _float32_limits(env.action_space)  # type: ignore[arg-type]
    return EnvironmentSpec(
        environment_id=environment_id,
        observation_names=tuple(name for name, _ in observations),
        observation_units=tuple(unit for _, unit in observations),
        action_names=tuple(name for name, _ in actions),
        action_units=tuple(unit for _, unit in actions),
        action_low=tuple(low),
        action_high=tuple(high),
        safe_action=tuple(np.clip(np.zeros_like(low), low, high)),
        control_period_sec=_control_period_sec(env),
        max_episode_steps=env.spec.max_episode_steps or 0,
        environment_arguments=arguments_as_json(environment_id, arguments),
        simulator_versions=(
            f'gymnasium {gymnasium.__version__}',
            *([f'mujoco {metadata.version("mujoco")}'] if mujoco_names.is_mujoco(env) else []),
        ),
    )


def _make(
    environment_id: str, *, render_mode: str | None, kwargs: dict[str, Any]
) -> gymnasium.Env:
    # Environments that draw nothing do not take the argument, not even None.
    drawing: dict[str, Any] = {} if render_mode is None else {'render_mode': render_mode}
    arguments = {name: value for name, value in kwargs.items() if name != WRAPPERS}
    try:
        with warnings.catch_warnings():
            # The version is part of what a policy was made for: a newer one is another task.
            warnings.filterwarnings('ignore', message=r'.* is out of date')
            env = gymnasium.make(environment_id, disable_env_checker=True, **drawing, **arguments)
        for name in kwargs.get(WRAPPERS, ()):
            env = _wrapper(name)(env)
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.Error, ImportError) as error:
        raise ConfigurationError(_why_not_made(environment_id, error)) from error
    except (TypeError, ValueError, OSError, ArithmeticError) as error:
        raise ConfigurationError(f'environment {environment_id!r}: {error}') from error
    # Gymnasium's own spec forgets the module; wrappers of ours it does not know.
    env.unwrapped._rl_edge_made_from = (environment_id, kwargs)  # type: ignore[attr-defined]
    return env


def _float32_limits(space: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits as float32, rounded inwards: what messages carry lies within them."""
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    infinity = np.float32(np.inf)
    low = np.where(low < space.low, np.nextafter(low, infinity), low)
    high = np.where(high > space.high, np.nextafter(high, -infinity), high)
    return low, high


def _wrapper(name: str) -> Callable[[gymnasium.Env], gymnasium.Env]:
    module, colon, function = str(name).partition(':')
    try:
        found = getattr(importlib.import_module(module), function) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f'wrapper {name!r} cannot be imported: {error}') from error
    if not callable(found):
        raise ConfigurationError(
            f'wrapper {name!r} names no function: write module:function, with the module on '
            f'PYTHONPATH'
        )
    return found  # type: ignore[no-any-return]


def _why_not_made(environment_id: str, error: Exception) -> str:
    if not isinstance(error, gymnasium.error.UnregisteredEnv | ImportError):
        return f'environment {environment_id!r}: {error}'
    close = difflib.get_close_matches(environment_id, list(gymnasium.registry), n=4, cutoff=0.5)
    hint = f'close ones are {", ".join(close)}' if close else 'the default is Ant-v5'
    return f'no environment is named {environment_id!r}; {hint} ({error})'


def _check_spaces(environment_id: str, env: gymnasium.Env) -> None:
    for what, space in (('actions', env.action_space), ('observations', env.observation_space)):
        is_vector = isinstance(space, Box) and len(space.shape) == 1
        if not is_vector or not np.issubdtype(space.dtype, np.floating):
            raise ConfigurationError(
                f'{environment_id} has {what} {space}, must be a vector of real numbers (a '
                f'one-dimensional Box): choose an environment with continuous {what}'
            )
    if not env.action_space.is_bounded():  # type: ignore[attr-defined]
        raise ConfigurationError(
            f'{environment_id} has actions without limits, {env.action_space}: wrap it in '
            f'gymnasium.wrappers.RescaleAction or choose another environment'
        )


def _control_period_sec(env: gymnasium.Env) -> float:
    period = getattr(env.unwrapped, 'dt', None)
    if period is None and env.metadata.get('render_fps'):
        period = 1.0 / env.metadata['render_fps']
    if period is None:
        raise ConfigurationError(
            f'{env.spec} says nothing of its control period: give it an attribute dt, in s, or '
            f"metadata['render_fps']"
        )
    return float(period)
