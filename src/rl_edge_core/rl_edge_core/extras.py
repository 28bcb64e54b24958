"""Packages that only some commands need, such as onnx or torch: found, or installed on request."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rl_edge_core.errors import MissingExtraError

_TRIED = 'RL_EDGE_EXTRAS_TRIED'
"""Extras that a command was already started again with: it never is twice."""


def require_extra(extra: str, *packages: str) -> None:
    """Make sure that the packages of an extra can be imported.

    ``packages`` are the names to import (default: ``extra`` itself), without importing them here.
    Raise MissingExtraError that names the command which installs what is missing; `run_again_with`
    takes it from there.
    """
    missing = [name for name in packages or (extra,) if importlib.util.find_spec(name) is None]
    if missing:
        wanted = ' '.join(_requirements(extra, missing))
        remedy = f'run the command under tools/env --with {extra}, or pip install {wanted}'
        if os.environ.get('RL_EDGE_INSTALLED'):  # an edge installation has neither of them
            remedy = f'make the edge installation with it: make edge WITH={extra}'
        raise MissingExtraError(f'{", ".join(missing)} is not installed: {remedy}', extra)


def run_again_with(extra: str, command: Sequence[str] | None = None) -> None:
    """Replace this process by the same command under ``tools/env --with EXTRA``.

    Return, having done nothing, where there is no checkout's tools/env, or this was tried before.
    """
    tools_env = _tools_env()
    tried = os.environ.get(_TRIED, '').split()
    if tools_env is None or extra in tried:
        return
    print(f'rl_edge: starting again with the extra {extra}', file=sys.stderr, flush=True)
    os.environ[_TRIED] = ' '.join([*tried, extra])
    words = [sys.executable, *sys.orig_argv[1:]] if command is None else list(command)
    os.execv(tools_env, [str(tools_env), '--with', extra, *words])


def _tools_env() -> Path | None:
    root = os.environ.get('RL_EDGE_ROOT')
    path = Path(root) / 'tools' / 'env' if root else None
    return path if path is not None and os.access(path, os.X_OK) else None


def _requirements(extra: str, missing: list[str]) -> list[str]:
    """Return what pip is given: the extra's own list where the checkout is there."""
    tools_env = _tools_env()
    if tools_env is not None:
        file = tools_env.parent / 'requirements' / 'extras' / f'{extra}.in'
        if file.is_file():
            lines = [line.split('#')[0].strip() for line in file.read_text().splitlines()]
            wanted = [line for line in lines if line and not line.startswith('-')]
            return [f"'{line}'" if set(line) & set('<>=;[ ') else line for line in wanted]
    return [name.replace('_', '-') for name in missing]
