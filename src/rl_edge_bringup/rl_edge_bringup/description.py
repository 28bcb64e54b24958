"""What a system is, as data: which nodes run, and which arguments they are made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rl_edge_bringup.arguments import Argument, Values


@dataclass(frozen=True)
class NodeDescription:
    """One node, or another program beside the nodes, in a process of its own."""

    package: str
    executable: str
    name: str
    namespace: str
    """Without the leading slash, e.g. ``ant0``."""
    command: tuple[str, ...] = ()
    """Command line of a program that is not ours; empty for a node, which has all below."""
    parameter_file: str = ''
    """In the folder ``config`` of the package's share."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What the arguments set, over the parameter file."""
    ends_run: bool = False
    """True: the run is over when it, and all others like it, have ended with exit code 0."""
    ready_file: str = ''
    """Pattern of a file that the nodes after this one wait for; empty for none."""

    @property
    def full_name(self) -> str:
        """Return the name in the graph, e.g. ``/ant0/policy``."""
        return f'/{self.namespace}/{self.name}'


def labels(nodes: Sequence[NodeDescription]) -> list[str]:
    """Return what to call each node: its name, with the namespace where several have that name."""
    names = [node.name for node in nodes]
    return [
        node.name if names.count(node.name) == 1 else f'{node.namespace}/{node.name}'
        for node in nodes
    ]


def _nothing_more() -> None:
    pass


@dataclass(frozen=True)
class SystemDescription:
    """A named set of nodes and the arguments they are made from."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    nodes: Callable[[Values], tuple[NodeDescription, ...]]
    """Makes the nodes from a checked value of each argument. Starts nothing."""
    check: Callable[[], None] = _nothing_more
    """Raises ConfigurationError when this machine lacks what the system needs."""
