"""The average of an actor's weights, and how a run chooses it."""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from rl_edge_core.configuration import from_mapping
from rl_edge_train.assembly import assemble
from rl_edge_train.run_config import RunConfig
from rl_edge_train.selection import WeightAverage

_location = importlib.util.spec_from_file_location('agents', Path(__file__).parent / 'agents.py')
agents = importlib.util.module_from_spec(_location)
_location.loader.exec_module(agents)


@dataclass
class Weights:
    """What an average asks of a network."""

    values: np.ndarray = field(default_factory=lambda: np.zeros(1, np.float32))

    def get_weights(self):
        return [self.values.copy()]

    def set_weights(self, weights):
        (self.values,) = weights


@dataclass
class Actor:
    """What it asks of an agent."""

    actor: Weights = field(default_factory=Weights)
    changes: int = 0

    def actor_has_changed(self):
        self.changes += 1


def test_each_iteration_moves_the_average_a_share_of_the_way():
    agent = Actor()
    average = WeightAverage(agent, iterations=4)
    assert not average
    for value in (1.0, 5.0, 5.0):
        agent.actor.values = np.array([value], np.float32)
        average.add()
    # 1, then 1 + (5 - 1) / 4 = 2, then 2 + (5 - 2) / 4 = 2.75
    with average.applied():
        assert agent.actor.values.tolist() == [2.75]
        assert agent.changes == 1
    assert agent.actor.values.tolist() == [5.0]
    assert agent.changes == 2


def test_the_average_goes_on_from_its_arrays():
    first, second = (WeightAverage(Actor(), iterations=2) for _ in range(2))
    first.add()
    second.load_arrays(first.arrays())
    for average in (first, second):
        average.agent.actor.values = np.array([3.0], np.float32)
        average.add()
    assert first.arrays()['0'].tolist() == second.arrays()['0'].tolist() == [1.5]


def test_without_iterations_nothing_is_averaged():
    average = WeightAverage(Actor(), iterations=0)
    average.add()
    assert not average
    assert average.arrays() == {}
    with pytest.raises(ValueError, match='-1'):
        WeightAverage(Actor(), iterations=-1)


@pytest.mark.timeout(900)
@pytest.mark.parametrize('is_better', [True, False])
def test_a_run_keeps_the_average_where_it_returns_more(is_better, tmp_path):
    config = from_mapping(
        RunConfig,
        {
            'algorithm': 'ppo',
            'total_steps': 200,
            'environment': {'environment_id': 'InvertedPendulum-v5'},
            'selection': {'episodes': 2, 'confirmations': 0, 'averaged_iterations': 10},
            'loop': {'environments': 2, 'rollout_length': 50},
            'agent': {
                'actor': {'widths': [8]},
                'critic': {'widths': [8]},
                'minibatches': 2,
                'policy_epochs': 1,
                'value_epochs': 1,
            },
        },
    )
    runner = assemble(config, tmp_path, seed=1)
    try:
        runner.run()
        upright, falling = np.zeros(1), np.full(1, 3.0)
        bias = runner.agent.actor.layers[-1].bias
        kept = [layer.get_weights() for layer in runner.agent.actor.layers]
        # Only the head's bias matters to the pendulum, and 3 N push it over at once.
        for weights in runner.agent.actor.weights:
            weights.assign(np.zeros(weights.shape))
        assert kept
        bias.assign(falling if is_better else upright)
        average = [np.zeros(weights.shape) for weights in runner.agent.actor.get_weights()]
        average[-1] = upright if is_better else falling
        runner._average.load_arrays({str(i): values for i, values in enumerate(average)})
        runner.agent.actor_has_changed()
        runner.evaluate()
        single, averaged = runner.evaluations.rows()[-2:]
        assert (single['averaged'], averaged['averaged']) == ('0', '1')
        returns = float(single['episode_return']), float(averaged['episode_return'])
        assert (returns[1] > returns[0]) is is_better
        assert runner.progress.best_return == pytest.approx(max(returns))
        # The run goes on with its own weights.
        assert bias.numpy().tolist() == (falling if is_better else upright).tolist()
    finally:
        runner.close()
