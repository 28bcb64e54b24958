"""The closed loop on one machine: simulator and policy."""

from rl_edge_bringup.arguments import Values
from rl_edge_bringup.description import NodeDescription, SystemDescription
from rl_edge_bringup.systems.common import (
    POLICY_ARGUMENTS,
    RUN_ARGUMENTS,
    SIM_ARGUMENTS,
    policy_node,
    sim_node,
)


def _nodes(values: Values) -> tuple[NodeDescription, ...]:
    return (sim_node(values), policy_node(values))


SIM = SystemDescription(
    name='sim',
    description='the closed loop on one machine: simulator and policy',
    arguments=(*POLICY_ARGUMENTS, *SIM_ARGUMENTS, *RUN_ARGUMENTS),
    nodes=_nodes,
)
