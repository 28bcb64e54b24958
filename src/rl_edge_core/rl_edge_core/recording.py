"""What every recorder of a robot needs: which topics, how deep, and where to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.shared_parameters import ALL, DEFAULT

DEFAULT_TOPICS = (
    *('transition', 'episode', 'environment', 'policy_status', 'resource_usage/*'),
    'control_timing',  # of robots
)
"""What an evaluation needs, relative to a robot's namespace."""

SUBSCRIPTION_DEPTH = 5000
"""More than a loop at full speed sends while a slow disk holds the recorder up for a second."""

_NAME = re.compile(r'^[A-Za-z0-9_/*?]+$')


@dataclass(frozen=True)
class TopicSelection:
    """Decide by name whether a topic is recorded."""

    patterns: tuple[str, ...]
    """Absolute names, in which ``*`` stands for anything."""

    def wants(self, topic: str) -> bool:
        """Return whether ``topic``, an absolute name, is recorded.

        Hidden topics (a part of the name starts with an underscore) never are.
        """
        if any(part.startswith('_') for part in topic.split('/')):
            return False
        return any(fnmatchcase(topic, pattern) for pattern in self.patterns)

    @property
    def known_names(self) -> tuple[str, ...]:
        """Return the names that need no discovery."""
        return tuple(name for name in self.patterns if '*' not in name and '?' not in name)


def select_topics(record_topics: str, namespaces: Sequence[str]) -> TopicSelection:
    """Return the selection that ``record_topics`` stands for.

    It is ``default``, ``all``, or names separated by commas or spaces; relative names hold in
    each of ``namespaces``. Raise ConfigurationError for what is no topic name.
    """
    words = record_topics.replace(',', ' ').split()
    if words == [ALL]:
        return TopicSelection(('*',))
    names: list[str] = []
    for word in words or [DEFAULT]:
        names.extend(DEFAULT_TOPICS if word == DEFAULT else [word])
    for name in names:
        if not _NAME.match(name):
            raise ConfigurationError(
                f'record_topics has {name!r}, which is not a topic name; give {DEFAULT}, {ALL}, '
                f'or names such as transition or /clock, separated by commas'
            )
    prefixes = [f'/{namespace.strip("/")}'.rstrip('/') for namespace in namespaces]
    patterns = [
        name if name.startswith('/') else f'{prefix}/{name}'
        for prefix in prefixes
        for name in names
    ]
    return TopicSelection(tuple(dict.fromkeys(patterns)))
