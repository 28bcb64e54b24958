"""A robot's policy node explores with an exported policy as the agent itself does."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from rl_edge_core.configuration import from_mapping
from rl_edge_policy.exploration import Explorer
from rl_edge_policy.load import load_policy
from rl_edge_train.loops import OffPolicyConfig
from rl_edge_train.online.learner import OnlineLearner, export_online_policy
from rl_edge_train.run_config import RunConfig

_location = importlib.util.spec_from_file_location('agents', Path(__file__).parent / 'agents.py')
agents = importlib.util.module_from_spec(_location)
_location.loader.exec_module(agents)
SPEC, small_agent = agents.SPEC, agents.small_agent

# Exporting starts processes that load TensorFlow.
pytestmark = pytest.mark.timeout(900)

SAMPLES = 400
SETTINGS = {
    # As study_ppo: the mean scaled in the graph. Noise small enough that limits cut little off.
    'ppo': {'initial_log_std': -1.5, 'action_scale': 0.9},
    'actor_critic': {'initial_std': 0.2},
    'sac': {'log_std_maximum': -1.0},
    'td3': {'exploration_std': 0.15},
}


@pytest.mark.parametrize('algorithm', SETTINGS)
def test_a_policy_node_samples_the_distribution_of_the_agent(algorithm, tmp_path):
    settings = SETTINGS[algorithm]
    agent = small_agent(algorithm, **settings)
    run = from_mapping(
        RunConfig, {'algorithm': algorithm, 'total_steps': 1, 'agent': dict(settings)}
    )
    learner = OnlineLearner(agent, OffPolicyConfig(replay_capacity=1), seed=0, folder=tmp_path)
    export_online_policy(learner, SPEC, run=run, out=tmp_path / 'policy')
    learner.close()
    explorer = Explorer(load_policy(tmp_path / 'policy', recipe='keras'), seed=0)
    observation = np.array([0.3, -0.2, 0.1, 0.0], np.float32)

    ours = np.array([explorer.act(observation, episode=0, step=step) for step in range(SAMPLES)])
    theirs = agent.act(np.tile(observation, (SAMPLES, 1)), explore=True).action

    # The two actions have half ranges 2 and 0.5, so that a unit mistaken is a factor of 2 or more.
    deviation = theirs.std(axis=0)
    np.testing.assert_allclose(ours.std(axis=0), deviation, rtol=0.2)
    np.testing.assert_allclose(
        ours.mean(axis=0), theirs.mean(axis=0), atol=4 * deviation.max() * SAMPLES**-0.5
    )
