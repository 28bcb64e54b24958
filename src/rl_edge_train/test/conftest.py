"""What the tests of learning from robots share."""

import pytest

from rl_edge_core.environment_spec import EnvironmentSpec


def make_spec(observations=2):
    return EnvironmentSpec(
        environment_id='Cart-v0',
        observation_names=tuple(f'cart.{index}' for index in range(observations)),
        observation_units=('1',) * observations,
        action_names=('push',),
        action_units=('N',),
        action_low=(-2.0,),
        action_high=(2.0,),
        safe_action=(0.0,),
        control_period_sec=0.05,
        max_episode_steps=100,
    )


@pytest.fixture(scope='session')
def spec_for():
    """Return the function that builds a spec with so many observations."""
    return make_spec


@pytest.fixture(scope='session')
def spec():
    return make_spec()
