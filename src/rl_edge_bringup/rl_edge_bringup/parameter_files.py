"""One parameter file a node: its own defaults with what the arguments set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rl_edge_bringup.description import NodeDescription
from rl_edge_bringup.locations import share_folder
from rl_edge_core.configuration import read_yaml
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import write_atomically

_PARAMETERS = 'ros__parameters'


def resolved_parameters(node: NodeDescription) -> dict[str, Any]:
    """Return the parameters in the node's own file with those of the description over them."""
    path = share_folder(node.package) / 'config' / node.parameter_file
    return {**read_parameters(path), **node.parameters}


def read_parameters(path: Path) -> dict[str, Any]:
    """Return the parameters in a file of the form ``NODE: ros__parameters: ...``, of one node.

    Raise ConfigurationError for any other form.
    """
    sections = list(read_yaml(path).values())
    parameters = sections[0].get(_PARAMETERS) if _is_one_mapping(sections) else None
    if not isinstance(parameters, Mapping):
        raise ConfigurationError(
            f'{path} must hold the name of one node, {_PARAMETERS}: below it, and its parameters '
            f'below that'
        )
    return dict(parameters)


def _is_one_mapping(sections: list[Any]) -> bool:
    return len(sections) == 1 and isinstance(sections[0], Mapping)


def write_parameters(node: NodeDescription, parameters: Mapping[str, Any], path: Path) -> Path:
    """Write the parameters for this node alone and return the file."""
    content = {node.full_name: {_PARAMETERS: dict(parameters)}}
    write_atomically(path, yaml.safe_dump(content, sort_keys=False))
    return path
