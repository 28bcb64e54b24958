"""What the readers of all storages yield, and what they could not."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rl_edge_core.errors import ConfigurationError, RlEdgeError


class BagError(RlEdgeError):
    """There is no bag to read at a path."""


@dataclass(frozen=True, eq=False)
class BagTopic:
    """A topic of one storage file, with what is needed to decode its messages.

    Compared by identity, since it is looked up for every message.
    """

    name: str
    message_type: str
    definition: str = ''
    """Full text; empty where the bag has none."""
    definition_format: str = ''
    """``ros2msg``, ``ros2idl`` or ``omgidl``."""
    serialization: str = 'cdr'


class BagMessage(NamedTuple):
    """One serialized message."""

    topic: BagTopic
    time_ns: int
    """When it was recorded, system clock."""
    data: bytes


class Notes:
    """Collect what was left out, or is not as it should be; equal remarks are counted."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, remark: str, example: str = '') -> None:
        """Note ``remark``; ``example`` is kept of the first time."""
        self._counts[remark] += 1
        if example and remark not in self._examples:
            self._examples[remark] = example

    def add_undecodable(self, topic: BagTopic, error: Exception) -> None:
        """Note that a message of ``topic`` could not be decoded."""
        self.add(
            f'{topic.name}: messages that cannot be decoded are left out',
            f'{type(error).__name__}: {error}',
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the remarks in the order of their first appearance."""
        lines = []
        for remark, count in self._counts.items():
            line = remark if count == 1 else f'{remark} ({count} times)'
            example = self._examples.get(remark)
            lines.append(f'{line}; the first: {example}' if example else line)
        return tuple(lines)


def parent_of(topic: str) -> str:
    """Return the namespace that a topic's name is in; empty for the root's."""
    return topic.rpartition('/')[0]


def choose_robot(path: Path, wanted: str | None, robots: Collection[str]) -> str:
    """Return the namespace that ``wanted`` names, or the only one of ``robots`` for None.

    Raise ConfigurationError when it is not in the bag at ``path``, or one has to be named.
    """
    if not robots:
        raise ConfigurationError(
            f'{path} has no topic of the control loop in it: it was cut off before the first '
            f'message, or other topics were recorded'
        )
    listed = ', '.join(sorted(name or '/' for name in robots))
    if wanted is None and len(robots) > 1:
        raise ConfigurationError(f'{path} has several robots, name one: {listed}')
    name = next(iter(robots), '') if wanted is None else f'/{wanted.strip("/")}'.rstrip('/')
    if name not in robots:
        raise ConfigurationError(f'{path} has no robot {wanted or ""!r}; it has {listed}')
    return name
