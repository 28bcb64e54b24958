"""What the exit of one node means for the run: decided here for both front-ends."""

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path

from rl_edge_bringup.systems import IGNORE, MOST_RESTARTS, RESPAWN, NodeDescription
from rl_edge_core.wording import counted

FIRST_RESTART_SEC = 0.5
"""Wait before the first restart; it doubles with each further one."""
HEALTHY_SEC = 30.0
"""A node that ran for so long has no restarts behind it."""


@dataclass(frozen=True)
class ExitDecision:
    """What to do after a node exited."""

    message: str
    restart_after_sec: float | None = None
    """Start the node again after this time."""
    is_over: bool = True
    """Whether the run is."""
    exit_code: int = 0
    """Of the run, where it is over."""


def decide_after_exit(
    node: NodeDescription,
    *,
    label: str,
    pid: int,
    return_code: int,
    on_node_exit: str,
    restarts: int,
    oom_kills: int = 0,
    is_last: bool = True,
    restart_after_sec: float | None = None,
) -> ExitDecision:
    """Decide what follows when ``node``, called ``label``, exited on its own.

    ``return_code`` is negative for a signal, as `subprocess` has it; ``oom_kills`` is how many
    `count_oom_kills` has counted since the node started; ``restarts`` counts those made in a row;
    ``is_last`` says that no other node that ends the run still runs. A restart
    comes after ``restart_after_sec``, by default twice as late each time. A node that exits with 0
    was told to, e.g. by `ros2 lifecycle set`, and so is the run that ends with it.
    """
    what = f'{label} (pid {pid}) {describe_exit(return_code, oom_kills)}'
    if return_code == 0 and node.ends_run:
        return ExitDecision(f'{label} has finished', is_over=is_last and on_node_exit != IGNORE)
    if on_node_exit == IGNORE:
        return ExitDecision(f'{what}; the others go on', is_over=False)
    if on_node_exit == RESPAWN and restarts < MOST_RESTARTS:
        delay = restart_after_sec or FIRST_RESTART_SEC * 2**restarts
        attempt = f'restart {restarts + 1} of {MOST_RESTARTS}'
        message = f'{what}; {attempt} in {delay:g} s'
        return ExitDecision(message, restart_after_sec=delay, is_over=False)
    if on_node_exit == RESPAWN:
        what += f' after {counted(restarts, "restart")}'
    return ExitDecision(f'{what}: the run is over', exit_code=exit_code_of(return_code))


def describe_exit(return_code: int, oom_kills: int = 0) -> str:
    """Return in words how a process exited; ``oom_kills`` as for `decide_after_exit`."""
    if return_code >= 0:
        return f'died with exit code {return_code}' if return_code else 'ended with exit code 0'
    name, code = _signal_name(-return_code), exit_code_of(return_code)
    if return_code == -signal.SIGKILL and oom_kills:
        return (
            f'was killed by the kernel, which was out of memory for its cgroup ({name}, exit code '
            f'{code}): raise the memory limit or run less beside it'
        )
    return f'was killed by {name} (exit code {code})'


def count_oom_kills() -> int:
    """Return how many processes of our cgroup the kernel has killed when out of memory.

    The nodes are in it, unless someone moves them. 0 where no memory cgroup says.
    """
    for line in Path('/proc/self/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if controllers not in ('', 'memory'):
            continue
        mount, name = (
            ('/sys/fs/cgroup/memory', 'memory.oom_control')
            if controllers
            else ('/sys/fs/cgroup', 'memory.events')
        )
        # A container may see its own cgroup as the root of the mount, whatever its path says.
        for folder in (f'{mount}/{path}', mount):
            with contextlib.suppress(OSError):
                words = Path(folder, name).read_text().split()
                if 'oom_kill' in words:
                    return int(words[words.index('oom_kill') + 1])
    return 0


def exit_code_of(return_code: int) -> int:
    """Return the exit code a shell reports: 128 + n for a process killed by signal n."""
    return return_code if return_code >= 0 else 128 - return_code


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'
