"""What the transitions that were seen during a fault came to."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rl_edge_core.transition_sequence import TransitionSequence
from rl_edge_experiments.observer import Observer
from rl_edge_interfaces.msg import EpisodeSummary, Observation

SETTLING_SEC = 20.0
PENDULUM_LIMITS = (-2.0, 2.0)
"""Of the actions in the environment that faults are put into, in N m."""


@dataclass
class Judgement:
    """What the transitions seen during one fault came to."""

    lost: int = 0
    doubled: int = 0
    outside: int = 0
    """Actions outside their limits, or not finite."""
    steps: int = 0
    safe_actions: int = 0


def judge(
    observer: Observer,
    ended: Sequence[EpisodeSummary],
    *,
    since: Observation | None = None,
    limits: tuple[float, float] = PENDULUM_LIMITS,
) -> Judgement:
    """Count what went wrong with the transitions that ``observer`` has seen.

    Of the episodes ``ended`` the last transitions are missed as well. The episode of ``since`` (by
    default of the first transition) and what was before it are left out of the losses: their
    beginning was before our time, and a loop overtakes what is sent to who comes late.
    """
    judgement, sequence = Judgement(), TransitionSequence()
    low, high = limits
    transitions = observer.transitions()
    first = since or (transitions[0] if transitions else Observation())
    began = (first.run_id, first.episode)

    def is_from_before(run_id: int, episode: int) -> bool:
        return run_id == began[0] and episode <= began[1]

    for transition in transitions:
        action = np.asarray(transition.action)
        valid = np.isfinite(action).all() and (low <= action).all() and (action <= high).all()
        judgement.outside += not valid
        judgement.safe_actions += transition.safe_action
        judgement.steps += 1
        if not is_from_before(transition.run_id, transition.episode):
            sequence.arrive(transition.run_id, transition.episode, transition.step)
    for episode in ended:
        if not is_from_before(episode.run_id, episode.episode):
            sequence.end_episode(episode.run_id, episode.episode, episode.length)
    judgement.lost, judgement.doubled = sequence.lost, sequence.duplicates
    return judgement


def judge_settled(observer: Observer, since: Observation | None = None) -> Judgement:
    """Judge once what is under way has arrived, or `SETTLING_SEC` have passed.

    The summary of an episode may overtake the last of its transitions. The loop runs on
    meanwhile, so that only episodes which have ended by now are waited for: of those that follow,
    some transitions are under way at any time.
    """
    ended = list(observer.episodes)
    deadline = time.monotonic() + SETTLING_SEC
    while (judgement := judge(observer, ended, since=since)).lost and time.monotonic() < deadline:
        time.sleep(0.5)
    return judgement
