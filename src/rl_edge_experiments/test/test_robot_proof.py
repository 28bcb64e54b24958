"""The proof over standard topics: which steps the recorded action explains, and what is paired."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rl_edge_eval.recorded_steps import Step
from rl_edge_experiments import robot_proof
from rl_edge_sim.environment import make_environment, spec_of

STEPS = 40


def recorded(env, *, delay):
    """Return the steps of an episode whose actions act ``delay`` steps after they are recorded."""
    generator = np.random.default_rng(0)
    observation, _ = env.reset(seed=3)
    steps, waiting = [], [np.zeros(env.action_space.shape, np.float32)] * delay
    for index in range(STEPS):
        action = generator.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        steps.append(Step(0, index, observation.astype(np.float32), action))
        waiting.append(action)
        observation, *_ = env.step(waiting.pop(0))
    return steps


class Recording(list):
    """Stand in for `RecordedSteps`."""

    spec = None


@pytest.mark.parametrize(('delay', 'unexplained'), [(0, 0), (1, STEPS - 2)])
def test_steps_that_another_action_moved_are_found(monkeypatch, delay, unexplained):
    env = make_environment('Ant-v5')
    recording = Recording(recorded(env, delay=delay))
    recording.spec = spec_of(env)
    env.close()
    monkeypatch.setattr(robot_proof, 'RecordedSteps', lambda bag, robot: recording)
    assert robot_proof.unexplained_steps(Path('bag')) == (STEPS - 2, unexplained)


def test_steps_without_an_answer_are_not_checked(monkeypatch):
    env = make_environment('Ant-v5')
    steps = recorded(env, delay=0)
    steps[10] = steps[10]._replace(action=np.full(8, np.nan, np.float32))
    recording = Recording(steps)
    recording.spec = spec_of(env)
    env.close()
    monkeypatch.setattr(robot_proof, 'RecordedSteps', lambda bag, robot: recording)
    assert robot_proof.unexplained_steps(Path('bag')) == (STEPS - 3, 0)


def test_an_environment_whose_state_is_not_observed_is_not_checked(monkeypatch):
    env = make_environment('Pendulum-v1')
    recording = SimpleNamespace(spec=spec_of(env))
    env.close()
    monkeypatch.setattr(robot_proof, 'RecordedSteps', lambda bag, robot: recording)
    assert robot_proof.unexplained_steps(Path('bag')) == (0, 0)


def test_returns_are_paired_by_seed():
    native = {'returns': {0: 100.0, 1: 50.0, 2: 10.0}}
    standard = {'returns': {2: 11.0, 0: 110.0, 7: 1.0}}
    kept = robot_proof._kept({robot_proof.NATIVE: native, robot_proof.STANDARD: standard})
    assert (kept.estimate, kept.count) == (pytest.approx(1.1), 2)
