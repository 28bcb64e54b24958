"""What the transitions that were seen while something was broken add up to."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rl_edge_core.transition_sequence import TransitionSequence
from rl_edge_experiments.observer import Observer
from rl_edge_interfaces.msg import EpisodeSummary, Observation

SETTLING_SEC = 20.0
PENDULUM_LIMITS = (-2.0, 2.0)
"""Of the actions in the environment that the faults are injected into, in N m."""


@dataclass
class TransitionAudit:
    """Counts over the transitions of one fault."""

    lost: int = 0
    doubled: int = 0
    outside: int = 0
    """Actions outside their limits, or not finite."""
    steps: int = 0
    safe_actions: int = 0


def audit_transitions(
    observer: Observer,
    ended: Sequence[EpisodeSummary],
    *,
    since: Observation | None = None,
    limits: tuple[float, float] = PENDULUM_LIMITS,
) -> TransitionAudit:
    """Count lost, doubled and invalid transitions of those that ``observer`` has seen.

    Transitions missing at the end of the episodes ``ended`` are counted as lost. The episode of
    ``since`` (by default of the first transition) and earlier ones are left out of the losses:
    they began before the observer subscribed.
    """
    audit, sequence = TransitionAudit(), TransitionSequence()
    low, high = limits
    transitions = observer.transitions()
    first = since or (transitions[0] if transitions else Observation())
    began = (first.run_id, first.episode)

    def is_from_before(run_id: int, episode: int) -> bool:
        return run_id == began[0] and episode <= began[1]

    for transition in transitions:
        action = np.asarray(transition.action)
        valid = np.isfinite(action).all() and (low <= action).all() and (action <= high).all()
        audit.outside += not valid
        audit.safe_actions += transition.safe_action
        audit.steps += 1
        if not is_from_before(transition.run_id, transition.episode):
            sequence.arrive(transition.run_id, transition.episode, transition.step)
    for episode in ended:
        if not is_from_before(episode.run_id, episode.episode):
            sequence.end_episode(episode.run_id, episode.episode, episode.length)
    audit.lost, audit.doubled = sequence.lost, sequence.duplicates
    return audit


def audit_settled(observer: Observer, since: Observation | None = None) -> TransitionAudit:
    """Audit once transitions under way have arrived, or after `SETTLING_SEC`.

    The summary of an episode may overtake its last transitions. The loop runs on meanwhile, so
    only episodes that have ended by now are waited for.
    """
    ended = list(observer.episodes)
    deadline = time.monotonic() + SETTLING_SEC
    while True:
        audit = audit_transitions(observer, ended, since=since)
        if not audit.lost or time.monotonic() > deadline:
            return audit
        time.sleep(0.5)
