import pytest

from rl_edge_core.environment_spec import EnvironmentSpec


@pytest.fixture(scope='session')
def cart() -> EnvironmentSpec:
    """Return a specification whose limits float32 has to round."""
    return EnvironmentSpec(
        environment_id='Cart-v0',
        observation_names=('cart.x', 'cart.velocity'),
        observation_units=('m', 'm/s'),
        action_names=('push',),
        action_units=('N',),
        action_low=(-0.4,),
        action_high=(0.4,),
        safe_action=(0.1,),
        control_period_sec=0.05,
        max_episode_steps=100,
    )
