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

_EVERY_NODE, _PARAMETERS = '/**', 'ros__parameters'


def resolved_parameters(node: NodeDescription) -> dict[str, Any]:
    """Return the parameters in the node's own file with those of the description over them."""
    path = share_folder(node.package) / 'config' / f'{node.name}.yaml'
    own = read_parameters(path) if path.is_file() else {}
    return {**own, **node.parameters}


def read_parameters(path: Path) -> dict[str, Any]:
    """Return the parameters in a file of the form ``/**: ros__parameters: ...``.

    Raise ConfigurationError for any other form.
    """
    content = read_yaml(path)
    section = content.get(_EVERY_NODE)
    parameters = section.get(_PARAMETERS) if isinstance(section, Mapping) else None
    if list(content) != [_EVERY_NODE] or not isinstance(parameters, Mapping):
        raise ConfigurationError(
            f'{path} must hold {_EVERY_NODE}: {_PARAMETERS}: and the parameters below it'
        )
    return dict(parameters)


def write_parameters(node: NodeDescription, parameters: Mapping[str, Any], folder: Path) -> Path:
    """Write the parameters for this node alone and return the file."""
    path = folder / f'{node.name}.yaml'
    content = {node.full_name: {_PARAMETERS: dict(parameters)}}
    write_atomically(path, yaml.safe_dump(content, sort_keys=False))
    return path
