"""From a system and its arguments to processes that can be started: everything is checked here."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from rl_edge_bringup.arguments import Value, parse_arguments
from rl_edge_bringup.description import NodeDescription, SystemDescription, labels
from rl_edge_bringup.locations import executable_path, ros_log_folder
from rl_edge_bringup.models import ChosenModel, ModelRequest, choose_model
from rl_edge_bringup.namespaces import checked_namespace
from rl_edge_bringup.node_exit import SHUTDOWN
from rl_edge_bringup.parameter_files import resolved_parameters, write_parameters
from rl_edge_bringup.qos_profiles import QosOverrides, load_qos, qos_parameters
from rl_edge_bringup.systems.recording import recorder_nodes
from rl_edge_core.files import ensure_folder, write_atomically

CONFIGURATION_FILE = 'configuration.yaml'


@dataclass(frozen=True)
class NodeProcess:
    """A node, ready to be started."""

    node: NodeDescription
    label: str
    """What it is called where several nodes are told apart."""
    parameters: Mapping[str, Any]
    """All that the node is given."""
    parameter_file: Path | None
    """None for a program that is no node of ours."""
    log_level: str

    @property
    def command(self) -> tuple[str, ...]:
        """Return the command line."""
        node = self.node
        if node.command:
            return node.command
        return (
            str(executable_path(node.package, node.executable)),
            '--ros-args',
            *('-r', f'__node:={node.name}'),
            *('-r', f'__ns:=/{node.namespace}'),
            *('--log-level', self.log_level),
            *('--params-file', str(self.parameter_file)),
        )


@dataclass(frozen=True)
class PreparedSystem:
    """A system with all its arguments settled and its files written."""

    system: SystemDescription
    values: Mapping[str, Value]
    model: ChosenModel | None
    processes: tuple[NodeProcess, ...]
    folder: Path
    """Holds the resolved configuration and the parameter files."""

    @property
    def on_node_exit(self) -> str:
        """Return ``shutdown`` or ``respawn``."""
        return str(self.values.get('on_node_exit', SHUTDOWN))


def prepare(system: SystemDescription, given: Mapping[str, str]) -> PreparedSystem:
    """Check ``given`` (argument name to text), choose the model, write the parameter files.

    Raise ConfigurationError, ArtifactError or StorageError before anything is started.
    """
    values = parse_arguments(system.arguments, given)
    system.check()
    values['namespace'] = checked_namespace(str(values['namespace']))
    model = _choose(values) if 'model' in values else None
    overrides = load_qos(str(values.get('qos', 'default')))
    folder = ensure_folder(_output_folder(str(values['output']), system.name))
    # The nodes get the file that was found; the configuration keeps what was asked for.
    settled = {**values, **_model_values(model), 'output': str(folder)}
    nodes = (*recorder_nodes(settled), *system.nodes(settled))
    log_level = str(values.get('log_level', 'info'))
    processes = tuple(
        _process(node, label, overrides, log_level=log_level, folder=folder)
        for node, label in zip(nodes, labels(nodes), strict=True)
    )
    prepared = PreparedSystem(system, values, model, processes, folder)
    text = yaml.safe_dump(_to_mapping(prepared), sort_keys=False)
    write_atomically(folder / CONFIGURATION_FILE, text)
    return prepared


def _choose(values: Mapping[str, Value]) -> ChosenModel:
    names = [field.name for field in fields(ModelRequest) if field.name in values]
    return choose_model(ModelRequest(**{name: str(values[name]) for name in names}))


def _model_values(model: ChosenModel | None) -> dict[str, Value]:
    if model is None:
        return {}
    return {'model': str(model.folder), 'recipe': model.recipe, 'runtime': model.runtime}


def _output_folder(output: str, system: str) -> Path:
    if output:
        return Path(output).expanduser().resolve()
    stamp = datetime.now().strftime('%Y%m%d-%H%M%S')
    return ros_log_folder() / 'rl_edge' / f'{stamp}-{system}-{os.getpid()}'


def _process(
    node: NodeDescription, label: str, overrides: QosOverrides, *, log_level: str, folder: Path
) -> NodeProcess:
    if node.command:
        return NodeProcess(node, label, {}, None, log_level)
    parameters = {
        **resolved_parameters(node),
        **qos_parameters(overrides, namespace=node.namespace, node=node.name),
    }
    executable_path(node.package, node.executable)  # a missing program is found out here
    file = write_parameters(node, parameters, folder / f'{label.replace("/", "-")}.yaml')
    return NodeProcess(node, label, parameters, file, log_level)


def _to_mapping(prepared: PreparedSystem) -> dict[str, Any]:
    return {
        'system': prepared.system.name,
        'arguments': dict(prepared.values),
        'model': prepared.model.to_mapping() if prepared.model else None,
        'nodes': {
            process.node.full_name: {
                'package': process.node.package,
                'executable': process.node.executable,
                'parameters': dict(process.parameters),
                'command': list(process.command),
            }
            for process in prepared.processes
        },
    }
