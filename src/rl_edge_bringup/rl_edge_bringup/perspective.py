"""The rqt perspective of a robot, made from the one that is installed."""

from pathlib import Path

from rl_edge_bringup.locations import share_folder

_WRITTEN_FOR = '/ant0/'
"""Namespace of the topics in the installed file, which rqt can open as it is."""


def installed_perspective() -> Path:
    """Return the file that is installed; raise ConfigurationError when nothing is."""
    return share_folder() / 'config' / 'monitor.perspective'


def render_perspective(text: str, namespace: str) -> str:
    """Return a perspective with the topics of the robot in ``namespace``, e.g. ``fleet/ant1``."""
    return text.replace(_WRITTEN_FOR, f'/{namespace}/')


def plotted_fields(text: str, namespace: str) -> list[str]:
    """Return what a rendered perspective plots: topic and field, e.g. ``/ant0/a_topic/a_field``.

    Each is in quotes, and no other text in quotes begins with the namespace.
    """
    start = f"'/{namespace}/"
    return [start[1:] + part.partition("'")[0] for part in text.split(start)[1:]]
