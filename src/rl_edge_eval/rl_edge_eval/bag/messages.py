"""What the readers of all storages yield."""

from dataclasses import dataclass
from typing import NamedTuple

from rl_edge_core.errors import RlEdgeError


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
    """``ros2msg`` or ``ros2idl``."""
    serialization: str = 'cdr'


class BagMessage(NamedTuple):
    """One serialized message."""

    topic: BagTopic
    time_ns: int
    """When it was recorded, system clock."""
    data: bytes
