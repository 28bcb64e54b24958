"""From a system and its arguments to processes that can be started: everything is checked here."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rclpy.exceptions import InvalidNamespaceException
from rclpy.validate_namespace import validate_namespace

from rl_edge_bringup import models
from rl_edge_bringup.systems import SHUTDOWN, NodeDescription, SystemDescription, labels, robots_of
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import check_folder, free_path, ros_log_folder, user_path, write_atomically
from rl_edge_core.parameters import (
    Value,
    check_parameters,
    node_parameters,
    parse_arguments,
    settings_of,
    to_text,
)

CONFIGURATION_FILE = 'configuration.yaml'
DEFAULT_QOS = 'default'
LARGEST_DOMAIN = 232
"""Of DDS: a higher one has no ports."""
_OF_SECURITY = ('ENABLE', 'KEYSTORE', 'ENCLAVE_OVERRIDE')


@dataclass(frozen=True)
class NodeProcess:
    """A node, ready to be started."""

    node: NodeDescription
    label: str
    """What it is called where several nodes are told apart."""
    parameters: Mapping[str, Any]
    """What the node is given: what differs from its defaults, and QoS overrides."""
    ros_arguments: tuple[str, ...]
    """ROS arguments besides name, namespace and parameters."""

    @property
    def command(self) -> tuple[str, ...]:
        """Return the command line. It holds the parameters: no file can be mixed up with it."""
        node = self.node
        if node.command:
            return node.command
        given = [f'{name}:={json.dumps(value)}' for name, value in self.parameters.items()]
        return (
            str(models.executable_path(node.package, node.executable)),
            '--ros-args',
            *('-r', f'__node:={node.name}'),
            *('-r', f'__ns:=/{node.namespace}'),
            *self.ros_arguments,
            *(word for pair in given for word in ('-p', pair)),
        )


@dataclass(frozen=True)
class PreparedSystem:
    """A system with all its arguments settled."""

    system: SystemDescription
    values: Mapping[str, Value]
    model: models.ChosenModel | None
    processes: tuple[NodeProcess, ...]
    folder: Path
    """Holds the resolved configuration."""

    @property
    def on_node_exit(self) -> str:
        """Return one of `rl_edge_bringup.systems.ON_NODE_EXIT`."""
        return str(self.values.get('on_node_exit', SHUTDOWN))

    @property
    def summary(self) -> str:
        """Return in some lines what is about to run."""
        lines = [f'{self.system.name}: {self.system.description}']
        if self.model is not None:
            file = self.model.folder / Path(self.model.model_id).name
            lines.append(f'model: {file} (runtime: {self.model.runtime})')
            if self.model.note:
                lines.append(f'note: the model is {self.model.note}')
        # What a launch file around ours has under a name of ours arrives as if it were given.
        given = [
            f'{setting.name}:={to_text(self.values[setting.name])}'
            for setting in self.system.arguments
            if self.values[setting.name] != setting.default
        ]
        lines.append(f'arguments: {" ".join(given) or "all at their defaults"}')
        lines.append(f'configuration: {self.folder}')
        bags = [Path(p.node.ready_file).parent for p in self.processes if p.node.ready_file]
        lines += [f'bag: {bag}' for bag in bags]
        return '\n'.join(lines)


def prepare(
    system: SystemDescription,
    given: Mapping[str, str],
    *,
    pushed_namespace: str = '',
    remappings: Sequence[tuple[str, str]] = (),
) -> PreparedSystem:
    """Check ``given`` (argument name to text), choose the model, save the resolved configuration.

    ``pushed_namespace`` and ``remappings`` are those of the launch file around us. Raise
    ConfigurationError, SpecMismatchError, ArtifactError or StorageError before anything starts.
    """
    values = _checked_values(system, given, pushed_namespace)
    output = str(values['output_folder'])
    folder = user_path(output).resolve() if output else _new_folder(system)
    check_folder(folder)
    check_folder(ros_log_folder())  # where each node logs, whatever the output folder is
    model = None
    # The nodes get the file that was found; the configuration keeps what was asked for.
    settled = {**values, 'output_folder': str(folder)}
    if 'model' in values:
        names = [field.name for field in fields(models.ModelRequest) if field.name in values]
        asked = {**values, 'environment_id': given.get('environment_id', '')}
        request = models.ModelRequest(**{name: str(asked[name]) for name in names})
        model = models.choose_model(request, run_folder=folder)
        for name, value in models.environment_of(model, given).items():
            if name in values and value:
                values[name] = settled[name] = value
        settled |= {'model': str(model.folder), 'recipe': model.recipe, 'runtime': model.runtime}
    nodes = system.nodes(settled)
    if settled.get('record'):
        from rl_edge_bringup.recording import with_recorder  # loaded where it is needed

        nodes = with_recorder(nodes, settled)
    qos = str(values.get('qos', DEFAULT_QOS))
    processes = tuple(
        NodeProcess(node, label, _parameters(node, qos, remappings), _ros_arguments(node, values))
        for node, label in zip(nodes, labels(nodes), strict=True)
    )
    prepared = PreparedSystem(system, values, model, processes, folder)
    text = yaml.safe_dump(_to_mapping(prepared), sort_keys=False)
    write_atomically(free_path(folder / CONFIGURATION_FILE), text)  # an earlier run keeps its
    return prepared


def _checked_values(
    system: SystemDescription, given: Mapping[str, str], pushed_namespace: str
) -> dict[str, Value]:
    """Return a value for each argument, what the system needs being installed."""
    domain = os.environ.get('ROS_DOMAIN_ID', '') or '0'
    if not domain.isdecimal() or int(domain) > LARGEST_DOMAIN:
        raise ConfigurationError(
            f'ROS_DOMAIN_ID is {domain}, must be 0 to {LARGEST_DOMAIN}; 0 to 101 are safe '
            f'whatever ports the system uses'
        )
    values = parse_arguments(system.arguments, given)
    if missing := models.missing(system.programs, system.needs):
        raise ConfigurationError(
            f'{system.name} needs {" and ".join(missing)}, which can not be found: '
            f'{models.install_command(system.needs)}'
        )
    values['namespace'] = checked_namespace(str(values['namespace']), pushed_namespace)
    if values.get('robot_namespaces'):
        robots = [checked_namespace(name, pushed_namespace) for name in robots_of(values)]
        values['robot_namespaces'] = ', '.join(robots)
    if values.get('environment_arguments'):
        from rl_edge_core.environment_spec import environment_arguments  # loaded where needed

        environment_arguments(str(values['environment_arguments']))  # a mistake shows now
    return values


def checked_namespace(namespace: str, pushed: str = '') -> str:
    """Return ``namespace``, below ``pushed`` unless it is absolute, without the leading slash.

    Raise ConfigurationError when ROS 2 does not accept it.
    """
    bare = namespace.removeprefix('/')
    if not bare:
        raise ConfigurationError('namespace is empty, must be a name such as ant0')
    if bare == namespace and pushed.strip('/'):
        bare = f'{pushed.strip("/")}/{bare}'
    try:
        validate_namespace('/' + bare)
    except InvalidNamespaceException as error:
        reason = str(error).splitlines()[0].removeprefix('Invalid namespace: ').rstrip(':')
        raise ConfigurationError(
            f'namespace is {namespace!r}: {reason}; use letters, digits and underscores, '
            f'with / between levels, e.g. ant0 or fleet/ant0'
        ) from None
    return bare


def _new_folder(system: SystemDescription) -> Path:
    """Return a folder that no other run has, beside the logs; it is not made yet."""
    stamp = datetime.now().strftime('%Y%m%d-%H%M%S')
    name = f'{stamp}-{system.name}-{os.getpid()}'
    return free_path(ros_log_folder() / 'rl_edge' / name, joined_by='-')


def _ros_arguments(node: NodeDescription, values: Mapping[str, Value]) -> tuple[str, ...]:
    log_level, enclave = str(values.get('log_level', 'info')), str(values.get('enclave', 'off'))
    if enclave == 'off':
        return '--log-level', log_level
    if enclave != 'on' and not enclave.startswith('/'):
        raise ConfigurationError(
            f'enclave is {enclave!r}, must be off, on, or a path such as /ant0/policy'
        )
    enclave = node.full_name if enclave == 'on' else enclave
    # Where DDS Security is asked for, the enclave has to have keys.
    variables = {name: os.environ.get(f'ROS_SECURITY_{name}', '') for name in _OF_SECURITY}
    keys = Path(variables['KEYSTORE'], 'enclaves', enclave.strip('/'))
    if variables['ENABLE'] == 'true' and not variables['ENCLAVE_OVERRIDE'] and not keys.is_dir():
        namespace = enclave.strip('/').rpartition('/')[0] or 'ant0'
        raise ConfigurationError(
            f'enclave {enclave} has no keys: {keys} is not a folder; set ROS_SECURITY_KEYSTORE to '
            f'the keystore, or make them: rl_edge security {namespace} --keystore FOLDER'
        )
    return '--log-level', log_level, '--enclave', enclave


def _parameters(
    node: NodeDescription, qos: str, remappings: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    if node.command:
        return {}
    models.executable_path(node.package, node.executable)  # a missing program is found out here
    check_parameters(node.executable, node.parameters)
    # What equals the default is left to the node, so that a launch file can still set it.
    defaults = {s.name: s.default for s in settings_of(node_parameters(node.executable))}
    given = {name: value for name, value in node.parameters.items() if value != defaults[name]}
    if qos != DEFAULT_QOS:
        from rl_edge_bringup.qos_profiles import load_qos, qos_parameters  # as above

        given |= qos_parameters(load_qos(qos), node=node, remappings=remappings)
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in given.items()
    }


def _to_mapping(prepared: PreparedSystem) -> dict[str, Any]:
    return {
        'system': prepared.system.name,
        'arguments': dict(prepared.values),
        'model': prepared.model.to_mapping() if prepared.model else None,
        'nodes': {
            process.node.full_name: {
                'package': process.node.package,
                'executable': process.node.executable,
                'parameters': dict(process.node.parameters),
                'overrides': dict(process.parameters),
                'command': list(process.command),
            }
            for process in prepared.processes
        },
    }
