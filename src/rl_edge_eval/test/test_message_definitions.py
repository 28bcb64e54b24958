import json
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory

from rl_edge_core.errors import ConfigurationError
from rl_edge_eval.recording.message_definitions import message_definition

INTERFACES = Path(get_package_share_directory('rl_edge_interfaces')) / 'msg'
OURS = sorted(f'rl_edge_interfaces/msg/{path.stem}' for path in INTERFACES.glob('*.msg'))
OTHERS = [
    'diagnostic_msgs/msg/DiagnosticArray',
    'rosgraph_msgs/msg/Clock',
    'sensor_msgs/msg/Image',
]


def installed_hash(message_type: str) -> str:
    package, _, name = message_type.split('/')
    path = Path(get_package_share_directory(package)) / 'msg' / f'{name}.json'
    hashes = json.loads(path.read_text())['type_hashes']
    return next(one['hash_string'] for one in hashes if one['type_name'] == message_type)


@pytest.mark.parametrize('message_type', OURS + OTHERS)
def test_hash_is_the_one_that_ros_generated(message_type: str) -> None:
    assert message_definition(message_type).type_hash == installed_hash(message_type)


def test_text_holds_the_file_and_every_type_it_uses() -> None:
    text = message_definition('diagnostic_msgs/msg/DiagnosticArray').text
    root, *used = text.split('=' * 80 + '\nMSG: ')
    package = Path(get_package_share_directory('diagnostic_msgs'))
    assert root.rstrip() == (package / 'msg' / 'DiagnosticArray.msg').read_text().rstrip()
    assert [part.split('\n')[0] for part in used] == [
        'builtin_interfaces/Time',
        'diagnostic_msgs/DiagnosticStatus',
        'diagnostic_msgs/KeyValue',
        'std_msgs/Header',
    ]


def test_missing_package_is_named() -> None:
    with pytest.raises(ConfigurationError, match='install or source the package no_such_msgs'):
        message_definition('no_such_msgs/msg/Thing')


def test_services_are_refused() -> None:
    with pytest.raises(ConfigurationError, match='services and actions are not recorded'):
        message_definition('std_srvs/srv/SetBool_Event')
