"""What the readers of all storages yield."""

from typing import NamedTuple

from rl_edge_core.errors import RlEdgeError


class BagError(RlEdgeError):
    """There is no bag to read at a path."""


class BagTopic(NamedTuple):
    """A topic of a bag, with what is needed to decode its messages."""

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
