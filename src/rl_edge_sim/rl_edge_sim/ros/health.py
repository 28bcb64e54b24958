"""The state of the sim node as it stands on /diagnostics."""

from collections.abc import Mapping
from typing import NamedTuple

from rl_edge_core.ros.diagnostics import ERROR, OK, WARN
from rl_edge_sim.control_loop import ControlLoop, Phase
from rl_edge_sim.realtime import Realtime
from rl_edge_sim.simulation import Simulation


class Health(NamedTuple):
    """A level and a reason that changes only when something has happened."""

    level: bytes
    reason: str


def health_of(
    loop: ControlLoop, *, troubles: list[str], new_rejections: int, dropped: int
) -> Health:
    """Return the worst of what there is to say.

    ``troubles`` are those with other nodes; ``new_rejections`` and ``dropped`` (periods of real
    time) are those of the last second.
    """
    if loop.phase is Phase.FAILED:
        return Health(ERROR, loop.failure)
    if troubles:
        return Health(ERROR, '; '.join(troubles))
    if loop.is_policy_silent and loop.missing:
        return Health(WARN, f'{loop.missing} connected yet; waiting')
    if loop.is_policy_silent:
        return Health(WARN, 'the policy is silent: an observation stays unanswered; waiting')
    if new_rejections:
        return Health(WARN, f'actions rejected, the safe action stood in: {loop.last_fault}')
    if isinstance(loop, Realtime) and loop.phase is Phase.RUNNING:
        if loop.is_holding_safe_action:
            return Health(WARN, 'the last action is too old: the safe action stands in')
        if dropped:
            return Health(WARN, 'the machine is too slow for real time: control periods dropped')
    return Health(OK, 'paused' if loop.is_paused else loop.phase.value)


def figures_of(loop: ControlLoop, simulation: Simulation) -> Mapping[str, object]:
    """Return the figures that stand beside the reason."""
    figures: dict[str, object] = {
        'environment_id': simulation.spec.environment_id,
        'episode': simulation.episode,
        'step': simulation.step,
        'steps': simulation.steps,
        'simulated_sec': simulation.time_ns / 1e9,
        'rejected_actions': loop.rejected_actions,
        'unanswered_sec': round(loop.silent_sec, 3),
    }
    if isinstance(loop, Realtime):
        figures['dropped_periods'] = loop.dropped_periods
    return figures
