"""What a system is, as data: which nodes run, and which arguments they are made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rl_edge_bringup.arguments import Argument, Values


@dataclass(frozen=True)
class NodeDescription:
    """One node, in a process of its own."""

    package: str
    executable: str
    name: str
    namespace: str
    """Without the leading slash, e.g. ``ant0``."""
    parameter_file: str = ''
    """In the folder ``config`` of the package's share."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What the arguments set, over the parameter file."""
    ends_run: bool = False
    """True: when it ends with exit code 0, the run is over and the other nodes are stopped."""

    @property
    def full_name(self) -> str:
        """Return the name in the graph, e.g. ``/ant0/policy``."""
        return f'/{self.namespace}/{self.name}'


@dataclass(frozen=True)
class SystemDescription:
    """A named set of nodes and the arguments they are made from."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    nodes: Callable[[Values], tuple[NodeDescription, ...]]
    """Makes the nodes from a checked value of each argument. Starts nothing."""
