"""Run ``ros2 bag record`` beside nodes: into a free folder, and ended after them.

``ros2 bag record`` stops at once when it is told to end. Whoever ends a run tells all processes
at the same time, and the nodes still publish their final messages then.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from rl_edge_core.files import free_path
from rl_edge_core.signals import die_with

_PATIENCE_SEC = 4.0
"""For the nodes to end; ros2 launch sends its next signal after 5 s."""
_LOOK_PERIOD_SEC = 0.05


def main(words: Sequence[str] | None = None) -> int:
    """Run with the bag folder and the command to record; return the exit code of the latter."""
    bag, *command = sys.argv[1:] if words is None else words
    folder = free_path(Path(bag))
    folder.parent.mkdir(parents=True, exist_ok=True)
    return_code = asyncio.run(_record([*command, '--output', str(folder)]))
    return return_code if return_code >= 0 else 128 - return_code


async def _record(command: Sequence[str]) -> int:
    told, hurry = asyncio.Event(), asyncio.Event()

    def on_signal(number: int) -> None:
        told.set()
        if number == signal.SIGTERM:  # follows SIGINT when that took too long
            hurry.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    me = os.getpid()
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C of the terminal reaches us alone
        preexec_fn=lambda: die_with(me),
    )
    ended = asyncio.create_task(child.wait())
    tasks = {ended, asyncio.create_task(told.wait())}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        await _wait_for_others(hurry)
        child.send_signal(signal.SIGINT)
    return await ended


async def _wait_for_others(hurry: asyncio.Event) -> None:
    """Return when the processes beside us have ended, at the latest after `_PATIENCE_SEC`."""
    for _ in range(round(_PATIENCE_SEC / _LOOK_PERIOD_SEC)):
        if hurry.is_set() or not _others():
            return
        await asyncio.sleep(_LOOK_PERIOD_SEC)


def _others() -> list[psutil.Process]:
    beside = psutil.Process(os.getppid()).children()
    return [
        process
        for process in beside
        if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    ]


if __name__ == '__main__':
    sys.exit(main())
