"""The systems there are, one module each."""

from rl_edge_bringup.arguments import did_you_mean
from rl_edge_bringup.description import SystemDescription
from rl_edge_bringup.systems.desktop import DESKTOP
from rl_edge_bringup.systems.edge import EDGE
from rl_edge_bringup.systems.monitor import MONITOR
from rl_edge_bringup.systems.sim import SIM
from rl_edge_bringup.systems.train import TRAIN
from rl_edge_core.errors import ConfigurationError

SYSTEMS = (SIM, EDGE, DESKTOP, TRAIN, MONITOR)


def find_system(name: str) -> SystemDescription:
    """Return the system called ``name``; raise ConfigurationError that lists those there are."""
    for system in SYSTEMS:
        if system.name == name:
            return system
    names = [system.name for system in SYSTEMS]
    raise ConfigurationError(
        f'no system is called {name!r}{did_you_mean(name, names)}; there are {", ".join(names)}'
    )
