"""What a fault is, and what several kinds of them share."""

from collections.abc import Callable
from dataclasses import dataclass

from rl_edge_bringup.running_system import RunningSystem
from rl_edge_experiments.rig import FaultFailedError, Rig

LOCKSTEP, REALTIME = 'lockstep', 'realtime'
BOTH = (LOCKSTEP, REALTIME)
STANDS_IN = 'reported; lockstep waits, in real time the safe action stands in; recovery'
COUNTED = 'counted, never applied; the loop runs on'


@dataclass(frozen=True)
class Fault:
    """One row of the matrix."""

    name: str
    modes: tuple[str, ...]
    expected: str
    put: Callable[[Rig], str]
    """Puts it into the loop; returns what happened."""
    may_lose: bool = False
    """Whether transitions may be lost, as long as they are counted."""
    needs_root: bool = False


def check_same(system: RunningSystem, node: str, pid: int) -> None:
    """Raise FaultFailedError when ``node`` is no longer the process ``pid``."""
    if system.pid(node) != pid:
        raise FaultFailedError(f'{node} was started again too')
