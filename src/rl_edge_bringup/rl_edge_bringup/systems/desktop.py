"""Everything but the policy, for the computer beside the edge device."""

from rl_edge_bringup.arguments import Values
from rl_edge_bringup.description import NodeDescription, SystemDescription
from rl_edge_bringup.systems.common import RUN_ARGUMENTS, SIM_ARGUMENTS, sim_node


def _nodes(values: Values) -> tuple[NodeDescription, ...]:
    return (sim_node(values),)


DESKTOP = SystemDescription(
    name='desktop',
    description='everything but the policy, which edge runs on another computer',
    arguments=(*SIM_ARGUMENTS, *RUN_ARGUMENTS),
    nodes=_nodes,
)
