"""Wait for the topics of a robot, then become rqt with the plots of them.

rqt_plot leaves out topics that do not exist when it starts, and does not look again.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rl_edge_bringup.models import share_folder
from rl_edge_core.files import write_atomically
from rl_edge_core.ros.start import own_node

_LOOK_PERIOD_SEC = 0.25
_DISCOVERY_SEC = 2.0
"""How long topics that are there may take to be found."""
_REMIND_PERIOD_SEC = 10.0
_INTERRUPTED = 130
_WRITTEN_FOR = '/ant0/'
"""Namespace of the topics in the installed file, which rqt can open as it is."""


def main(words: Sequence[str] | None = None) -> int:
    """Run with namespace and folder for the perspective; return only when interrupted."""
    namespace, folder = sys.argv[1:] if words is None else words
    installed = share_folder() / 'config' / 'monitor.perspective'
    text = render_perspective(installed.read_text(), namespace)
    path = Path(folder) / f'{namespace.replace("/", "-")}.perspective'
    write_atomically(path, text)
    topics = {field.rpartition('/')[0] for field in plotted_fields(text, namespace)}
    try:
        _wait_for(sorted(topics))
    except KeyboardInterrupt:
        return _INTERRUPTED
    print(f'opening rqt with {path}', flush=True)
    return os.execvp('rqt', ['rqt', '--perspective-file', str(path)])


def render_perspective(text: str, namespace: str) -> str:
    """Return a perspective with the topics of the robot in ``namespace``, e.g. ``fleet/ant1``."""
    return text.replace(_WRITTEN_FOR, f'/{namespace}/')


def plotted_fields(text: str, namespace: str) -> list[str]:
    """Return what a rendered perspective plots: topic and field, e.g. ``/ant0/a_topic/a_field``.

    Each is in quotes, and no other text in quotes begins with the namespace.
    """
    start = f"'/{namespace}/"
    return [start[1:] + part.partition("'")[0] for part in text.split(start)[1:]]


def _wait_for(topics: Sequence[str]) -> None:
    with own_node('monitor') as (node, _):
        say_at_sec = time.monotonic() + _DISCOVERY_SEC
        while missing := [topic for topic in topics if not node.count_publishers(topic)]:
            if time.monotonic() >= say_at_sec:
                print(f'waiting for {", ".join(missing)}', flush=True)
                say_at_sec += _REMIND_PERIOD_SEC
            time.sleep(_LOOK_PERIOD_SEC)


if __name__ == '__main__':
    sys.exit(main())
