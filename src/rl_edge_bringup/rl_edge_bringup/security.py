"""`rl_edge security`: keys and signed permissions of a robot's nodes, made with sros2.

The policies in ``security/`` of the package say what each node needs, and nothing else. sros2
comes with a ROS 2 distribution; the lxml and cryptography that it uses are the extra ``security``.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from rl_edge_bringup.models import install_command, share_folder
from rl_edge_core.argument_parser import ArgumentParser
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.extras import require_extra
from rl_edge_core.files import ensure_folder

PLACEHOLDER = 'NAMESPACE'


def main(words: Sequence[str] | None = None, *, prog: str = 'rl_edge') -> int:
    """Make keystore and enclaves as the words say; return the exit code."""
    parser = ArgumentParser(
        prog=f'{prog} security',
        description="Make keys and signed permissions for a robot's nodes (docs/security.md).",
    )
    parser.add_argument('namespace', metavar='NAMESPACE', help='of the robot, e.g. ant0')
    parser.add_argument('--keystore', type=Path, required=True, metavar='DIR', help='its folder')
    parser.add_argument(
        '--roles',
        default=','.join(roles()),
        help='separated by commas (default: all: %(default)s)',
    )
    options = parser.parse_args(words)
    enclaves = make_enclaves(options.namespace, options.keystore, options.roles.split(','))
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    print(f'{options.keystore}: {", ".join(enclaves)}, for ROS_DOMAIN_ID {domain}')
    print(f'on each computer: export ROS_SECURITY_KEYSTORE={options.keystore.absolute()}')
    print('                  export ROS_SECURITY_ENABLE=true ROS_SECURITY_STRATEGY=Enforce')
    print('and start the nodes with enclave:=on; copy public/ and enclaves/ alone, not private/')
    return 0


def roles() -> list[str]:
    """Return the roles that have a policy."""
    return sorted(file.name.partition('.')[0] for file in _policies_folder().glob('*.policy.xml'))


def policy_of(role: str, namespace: str) -> str:
    """Return the sros2 policy of a role in a namespace, as XML."""
    if role not in roles():
        raise ConfigurationError(f'no role is called {role!r}; there are {", ".join(roles())}')
    text = (_policies_folder() / f'{role}.policy.xml').read_text()
    return text.replace(PLACEHOLDER, namespace.strip('/'))


def make_enclaves(namespace: str, keystore: Path, chosen: Sequence[str]) -> list[str]:
    """Make the enclaves ``/NAMESPACE/ROLE`` in a keystore, new or not; return their names.

    Keys that are there stay; permissions are written and signed again.

    Raises:
        ConfigurationError: for an unknown role, a keystore folder that holds something else, or
            where sros2 is not installed.
        MissingExtraError: where lxml or cryptography is not installed.
        StorageError: where the keystore can't be written.
    """
    policies = {role: policy_of(role, namespace) for role in chosen}
    if importlib.util.find_spec('sros2') is None:
        raise ConfigurationError(
            f'sros2 is not installed: {install_command(["sros2"])} (it is not among the wheels)'
        )
    require_extra('security', 'lxml', 'cryptography')
    from sros2.keystore import (
        create_enclave,
        create_keystore,
        create_permission,
        is_valid_keystore,
    )

    ensure_folder(keystore)
    if not is_valid_keystore(keystore):
        if any(keystore.iterdir()):
            raise ConfigurationError(
                f'{keystore} is not a keystore: name a new folder or an empty one'
            )
        create_keystore(keystore)
    folder = keystore / 'policies' / namespace.strip('/')
    folder.mkdir(parents=True, exist_ok=True)
    enclaves = [f'/{namespace.strip("/")}/{role}' for role in policies]
    for enclave, (role, text) in zip(enclaves, policies.items(), strict=True):
        file = folder / f'{role}.policy.xml'
        file.write_text(text)
        create_enclave(keystore, enclave)
        create_permission(keystore, enclave, file)
    return enclaves


def _policies_folder() -> Path:
    return share_folder() / 'security'
