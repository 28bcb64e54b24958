"""The policy alone, for the edge device."""

from rl_edge_bringup.arguments import Values
from rl_edge_bringup.description import NodeDescription, SystemDescription
from rl_edge_bringup.systems.common import POLICY_ARGUMENTS, RUN_ARGUMENTS, policy_node


def _nodes(values: Values) -> tuple[NodeDescription, ...]:
    return (policy_node(values),)


EDGE = SystemDescription(
    name='edge',
    description='the policy alone, for the edge device; desktop is its counterpart',
    arguments=(*POLICY_ARGUMENTS, *RUN_ARGUMENTS),
    nodes=_nodes,
)
