"""Where the set-up keeps what it makes, and how it runs commands."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """One environment of one checkout."""

    root: Path
    """The checkout."""
    venv: Path
    """The virtual environment; everything the set-up makes lies in it, builds included."""
    subset: str
    """'full', or 'edge' for what a device needs that only runs a policy."""
    ros_wheels: str | None
    """The ROS 2 distribution whose wheels are installed; None where a sourced ROS 2 is used."""

    @property
    def sourced(self) -> bool:
        """Whether a sourced ROS 2 is used instead of the wheels."""
        return self.ros_wheels is None

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / 'bin' / 'python'

    @property
    def requirements(self) -> Path:
        """The folder of the lock files."""
        return self.root / 'tools' / 'requirements'

    @property
    def lock_file(self) -> Path:
        """What this environment consists of."""
        kind = {None: 'sourced', 'jazzy': 'wheels'}.get(
            self.ros_wheels, f'wheels-{self.ros_wheels}'
        )
        return self.requirements / f'{kind}{"-edge" if self.subset == "edge" else ""}.lock'

    @property
    def state(self) -> Path:
        """The folder of the stamps that say what is done."""
        return self.venv / '.rl_edge'

    @property
    def workspace(self) -> Path:
        """The folder of colcon's build, install and log."""
        return self.venv / 'colcon'


class StepError(Exception):
    """A command of the set-up failed; holds what it printed."""


def run(command: Sequence[str | Path], *, env: Mapping[str, str], **options: object) -> str:
    """Run a command and return what it printed.

    The lock of the set-up (see `__main__.py`) is inherited: were we killed, the next set-up would
    wait for this command to end instead of working beside it.

    Raises:
        StepError: with the command's output, when it exits with anything but 0.
    """
    done = subprocess.run(
        [str(part) for part in command],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        close_fds=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise StepError(f'{done.stdout}\n{" ".join(map(str, command[:6]))} ... failed')
    return done.stdout


def say(text: str) -> None:
    """Tell the user one line; tools/env sends it to standard error."""
    print(f'rl_edge: {text}', flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step, and say how long it took."""
    begin = time.monotonic()
    sys.stdout.write(f'rl_edge: {text} ... ')
    sys.stdout.flush()
    try:
        yield
    except BaseException:
        print('stopped', flush=True)
        raise
    print(f'{time.monotonic() - begin:.0f} s', flush=True)
