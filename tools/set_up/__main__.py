"""Set up the environment of a checkout and build what changed. Called by tools/env."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environment import write_environment
from installation import ensure_extra, ensure_installed
from places import Places, StepError, say
from workspace import build_changed


def main() -> int:
    """Do what is missing, one set-up of a checkout at a time; return the exit code.

    Standard input holds what tools/env will compare with at its next run. It is written when all
    is done, so that a set-up that was interrupted is not taken for a finished one.
    """
    arguments = parse_arguments()
    places = Places(
        root=arguments.root,
        venv=arguments.venv,
        subset=arguments.subset,
        ros_wheels=arguments.ros_wheels,
    )
    fingerprint = sys.stdin.read()
    try:
        with set_up_lock(places.root):
            set_up(places, extras=arguments.extras, fingerprint=fingerprint)
    except (StepError, OSError) as failure:
        print(failure, flush=True)
        say('the set-up is not finished; the next run takes it up again')
        return 1
    except KeyboardInterrupt:
        say('interrupted; the next run takes it up again')
        return 130
    return 0


def set_up(places: Places, *, extras: list[str], fingerprint: str) -> None:
    """Install, build and write the environment of the commands, each where needed."""
    ready = places.state / 'ready'
    ready.unlink(missing_ok=True)
    digest = ensure_installed(places)
    for extra in extras:
        ensure_extra(places, extra)
    write_environment(places, build_changed(places, digest))
    new = ready.with_suffix('.new')
    new.write_text(fingerprint)
    new.replace(ready)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='tools/set_up', description=__doc__)
    parser.add_argument('--root', type=Path, required=True, help='the checkout')
    parser.add_argument('--venv', type=Path, required=True, help='its environment')
    parser.add_argument('--subset', choices=['full', 'edge'], default='full')
    parser.add_argument(
        '--ros-wheels', metavar='DISTRO', help='the wheels to install, where no ROS 2 is sourced'
    )
    parser.add_argument('--with', dest='extras', action='append', default=[], metavar='EXTRA')
    return parser.parse_args()


@contextmanager
def set_up_lock(root: Path) -> Iterator[None]:
    """Hold the checkout's lock, waiting for another set-up of it to end."""
    descriptor = os.open(root / '.set_up.lock', os.O_CREAT | os.O_RDWR, 0o666)
    os.set_inheritable(descriptor, True)  # see places.run
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('waiting for another set-up or build of this checkout')
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == '__main__':
    sys.exit(main())
