"""The full text of a message type and its hash, from what its package has installed."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from rl_edge_core.errors import ConfigurationError

_SEPARATOR = '=' * 80
# A field is a type and a name; constants, which have a value, never have a message type.
_FIELD = re.compile(r'^\s*([A-Za-z][\w/]*)\s*(?:\[[^\]]*\])?\s+[A-Za-z]\w*')
_BASE_TYPES = frozenset(
    (
        *('bool', 'byte', 'char', 'float32', 'float64', 'string', 'wstring'),
        *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
    )
)


@dataclass(frozen=True)
class MessageDefinition:
    """What a bag must know of a type so that readers need no installed package."""

    text: str
    """The .msg file, then those of all types it uses, as ``ros2 bag record`` writes them."""
    type_hash: str
    """RIHS01, as the type's publishers announce it."""


@cache
def message_definition(message_type: str) -> MessageDefinition:
    """Return the definition of ``package/msg/Name``.

    Raise ConfigurationError when its package or .msg file is not installed.
    """
    texts = {message_type: _installed(message_type, '.msg').read_text()}
    waiting = [message_type]
    while waiting:
        current = waiting.pop()
        for line in texts[current].splitlines():
            field = _FIELD.match(line.split('#')[0])
            if not field or field[1].split('<')[0] in _BASE_TYPES:
                continue
            *package, name = field[1].split('/')  # without one it is that of the type around it
            used = f'{package[0] if package else current.split("/")[0]}/msg/{name}'
            if used not in texts:
                texts[used] = _installed(used, '.msg').read_text()
                waiting.append(used)
    text = texts.pop(message_type)
    for used in sorted(texts):
        text += f'\n{_SEPARATOR}\nMSG: {used.replace("/msg/", "/")}\n{texts[used]}'
    return MessageDefinition(text, _type_hash_of(message_type))


def _type_hash_of(message_type: str) -> str:
    """Return what rosidl has written beside the .msg file; empty where it has not (Humble)."""
    try:
        hashes = json.loads(_installed(message_type, '.json').read_text())['type_hashes']
    except ConfigurationError:
        return ''
    return next(one['hash_string'] for one in hashes if one['type_name'] == message_type)


def _installed(message_type: str, suffix: str) -> Path:
    package, _, name = message_type.partition('/msg/')
    if not name:
        raise ConfigurationError(
            f'{message_type!r} is not a message type of the form package/msg/Name; '
            f'services and actions are not recorded'
        )
    try:
        path = Path(get_package_share_directory(package)) / 'msg' / f'{name}{suffix}'
    except (PackageNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f'{message_type} cannot be recorded: its package is not installed ({error}); '
            f'install or source the package {package}'
        ) from error
    if not path.is_file():
        raise ConfigurationError(
            f'{message_type} cannot be recorded: {path} is not installed; a type that is defined '
            f'in another way than by a .msg file has none'
        )
    return path
