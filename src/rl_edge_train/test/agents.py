"""Small agents and transitions that several tests share."""

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train.algorithms.registry import make_agent

OBSERVATIONS, KEPT, ACTIONS = 4, 3, 2
SPEC = EnvironmentSpec(
    environment_id='Small-v0',
    observation_names=tuple(f'observation.{i}' for i in range(OBSERVATIONS)),
    observation_units=('1',) * OBSERVATIONS,
    action_names=tuple(f'action.{i}' for i in range(ACTIONS)),
    action_units=('1',) * ACTIONS,
    action_low=(-2.0, 0.0),
    action_high=(2.0, 1.0),
    safe_action=(0.0, 0.5),
    control_period_sec=0.05,
    max_episode_steps=100,
)
SMALL = {'widths': [8], 'activations': ['tanh']}


def small_agent(algorithm, *, seed=1, **settings):
    own = {'minibatches': 2, 'policy_epochs': 3, 'value_epochs': 2} if algorithm == 'ppo' else {}
    defaults = {'actor': SMALL, 'critic': SMALL, 'observation_inputs': KEPT}
    return make_agent(algorithm, SPEC, {**defaults, **own, **settings}, seed=seed)


def transitions(agent, count, *, seed=0, **fixed):
    """Return `count` transitions by name, with what the agent stores beside them."""
    generator = np.random.default_rng(seed)
    observation = generator.normal(size=(count, OBSERVATIONS)).astype(np.float32)
    decision = agent.act(observation, explore=True)
    return {
        'observation': observation,
        'action': decision.action,
        'reward': generator.normal(size=count).astype(np.float32),
        'next_observation': generator.normal(size=(count, OBSERVATIONS)).astype(np.float32),
        'terminated': np.zeros(count, np.float32),
        'truncated': np.zeros(count, np.float32),
        **decision.extras,
        **fixed,
    }


def rows_of(agent, count, **kwargs):
    return agent.layout.rows(transitions(agent, count, **kwargs))
