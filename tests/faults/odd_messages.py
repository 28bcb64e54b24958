"""Messages that no node of ours would send: malformed, stale and foreign ones."""

from array import array
from collections.abc import Iterator

import numpy as np

from rl_edge_interfaces.msg import Action, Observation

_NAN, _INFINITY = float('nan'), float('inf')
LARGEST_UINT32 = 2**32 - 1
LARGEST_UINT64 = 2**64 - 1


def odd_values(generator: np.random.Generator) -> array:
    """Return values that are none: of any size, not finite, or far too large."""
    kind = generator.integers(6)
    if kind == 0:
        return array('f')
    if kind == 1:
        return array('f', [_NAN])
    if kind == 2:
        return array('f', [_INFINITY])
    if kind == 3:
        return array('f', [3.0e38])
    if kind == 4:
        return array('f', generator.normal(size=int(generator.integers(2, 200))).tolist())
    return array('f', [-_INFINITY, _NAN, 1.0])


def malformed_actions(count: int, *, run_id: int, episode: int, seed: int = 0) -> Iterator[Action]:
    """Yield actions that can be deserialized and nothing else; every second one is of this run."""
    generator = np.random.default_rng(seed)
    numbers = (0, 1, 7, 199, LARGEST_UINT32)
    for index in range(count):
        message = Action(run_id=run_id if index % 2 else int(generator.integers(2**63)))
        message.episode = episode if index % 3 else int(generator.choice(numbers))
        message.step = int(generator.choice(numbers))
        message.values = odd_values(generator)
        message.model_hash = ('', 'x' * 200, 'ü\u0000\U0001f600')[index % 3]
        message.inference_time_us = (_NAN, -1.0, _INFINITY)[index % 3]
        yield message


def malformed_observations(count: int, *, run_id: int, seed: int = 0) -> Iterator[Observation]:
    """Yield observations that can be deserialized and nothing else."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        # Far ahead of the robot: what answers them is for a step that was never published.
        step = LARGEST_UINT32 - int(generator.integers(1000))
        message = Observation(run_id=run_id, episode=LARGEST_UINT32, step=step)
        message.values = odd_values(generator)
        if index % 4 == 0:
            message.run_id = LARGEST_UINT64
        yield message


def stale_actions(count: int, *, run_id: int, episode: int, step: int) -> Iterator[Action]:
    """Yield valid actions for steps before ``step``."""
    for index in range(count):
        message = Action(run_id=run_id, episode=episode, step=index % max(step, 1))
        message.values = array('f', [0.5])
        yield message


def foreign_actions(count: int, *, run_id: int, episode: int, step: int) -> Iterator[Action]:
    """Yield valid actions that another robot's policy would send."""
    for index in range(count):
        message = Action(run_id=run_id ^ 0x5A5A, episode=episode, step=step + index % 50)
        message.values = array('f', [0.5])
        yield message
