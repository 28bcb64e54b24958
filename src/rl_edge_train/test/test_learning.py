"""Every algorithm learns a tiny environment through the real loops, compiled as in training."""

import numpy as np
import pytest

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train.algorithms.registry import make_agent
from rl_edge_train.collector import RolloutCollector, StepCollector
from rl_edge_train.environments import EnvironmentStep
from rl_edge_train.loops import OffPolicyConfig, OffPolicyLoop, OnPolicyLoop
from rl_edge_train.rollout import rolled_out
from rl_edge_train.vector_environment import VectorStep

# Compiling and starting processes take their time on a machine with other work to do.
pytestmark = pytest.mark.timeout(900)

SPEC = EnvironmentSpec(
    environment_id='Reach-v0',
    observation_names=('offset',),
    observation_units=('m',),
    action_names=('push',),
    action_units=('m',),
    action_low=(-2.0,),
    action_high=(2.0,),
    safe_action=(0.0,),
    control_period_sec=0.05,
    max_episode_steps=5,
)
NETWORKS = {
    'actor': {'widths': [16], 'activations': ['tanh']},
    'critic': {'widths': [32]},
}
SETTINGS = {
    'sac': {'actor_learning_rate': 3e-3, 'critic_learning_rate': 3e-3, 'discount': 0.5},
    'td3': {'actor_learning_rate': 3e-3, 'critic_learning_rate': 3e-3, 'discount': 0.5},
    'ddpg': {'actor_learning_rate': 3e-3, 'critic_learning_rate': 3e-3, 'discount': 0.5},
    'actor_critic': {
        'actor_learning_rate': 3e-3,
        'critic_learning_rate': 3e-3,
        'discount': 0.5,
        'initial_std': 0.5,
        'final_std': 0.2,
        'normalize_advantages': True,
    },
    'ppo': {
        'policy_learning_rate': 3e-3,
        'value_learning_rate': 3e-3,
        'discount': 0.5,
        'minibatches': 4,
    },
}


class Reach:
    """A point that each action moves; the reward is -offset^2. Episodes are cut at 5 steps."""

    def __init__(self, count):
        self.count = count
        self.generator = np.random.default_rng(0)
        self.steps = 0
        self.offset = self.generator.uniform(-2, 2, count)

    @property
    def observation(self):
        return self.offset[:, None].astype(np.float32)

    def start_step(self, action):
        self.offset = np.clip(self.offset + action[:, 0], -4, 4)

    def finish_step(self):
        self.steps += 1
        following, reward = self.observation, -np.square(self.offset).astype(np.float32)
        cut = self.steps % SPEC.max_episode_steps == 0
        if cut:
            self.offset = self.generator.uniform(-2, 2, self.count)
        truncated = np.full(self.count, cut, np.float32)
        return VectorStep(reward, following, np.zeros_like(truncated), truncated, [])

    def start_rollout(self, policy, noise):
        self.policy, self.noise = policy, noise

    def finish_rollout(self):
        noise = iter(self.noise)
        transitions, _ = rolled_out(
            self.observation,
            len(self.noise),
            decide=lambda observation: self.policy.act(observation, next(noise)),
            step=self.outcomes,
        )
        return transitions, []

    def outcomes(self, action):
        self.start_step(action)
        step, following = self.finish_step(), self.observation
        return [
            EnvironmentStep(
                float(step.reward[k]), step.next_observation[k], following[k], False, cut, 0.0
            )
            for k, cut in enumerate(step.truncated > 0)
        ]


def loop_for(algorithm, agent, folder):
    on_policy = algorithm == 'ppo'
    if on_policy:
        rollouts = RolloutCollector(agent, Reach(8), steps=20)
        return OnPolicyLoop(agent, rollouts, total_steps=8000)
    collector = StepCollector(agent, Reach(8), action_limits=(SPEC.low, SPEC.high), seed=0)
    recent = algorithm == 'actor_critic'
    config = OffPolicyConfig(
        environments=8,
        updates_per_iteration=2,
        batch_size=64,
        warmup_steps=0 if recent else 200,
        replay_capacity=500 if recent else 10_000,
    )
    return OffPolicyLoop(
        agent,
        collector,
        config,
        total_steps=8000,
        seed=0,
        folder=folder,
    )


@pytest.mark.parametrize(
    ('algorithm', 'changes'),
    [*((algorithm, {}) for algorithm in SETTINGS), ('actor_critic', {'sequence_length': 4})],
    ids=str,
)
def test_it_learns_to_go_to_the_origin(algorithm, changes, tmp_path):
    settings = {**NETWORKS, **SETTINGS[algorithm], **changes}
    agent = make_agent(algorithm, SPEC, settings, seed=1)
    loop = loop_for(algorithm, agent, tmp_path)
    offsets = np.linspace(-1.5, 1.5, 13, dtype=np.float32)[:, None]

    def error():
        action = agent.act(offsets, explore=False).action
        return float(np.abs(offsets + action).mean())

    untrained = error()
    while loop.steps < 8000 and error() > 0.2:
        for _ in range(1 if algorithm == 'ppo' else 25):
            loop.iterate()
    assert error() <= 0.2 < untrained
