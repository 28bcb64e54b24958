"""Policies for DDS Security, and the keystore that is made from them."""

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from rl_edge_bringup import security
from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.systems import find_system
from rl_edge_core.errors import ConfigurationError, StorageError

ROLES = ['observer', 'policy', 'recorder', 'robot', 'sim', 'train']
LOOP = ['robot', 'sim']
"""The roles that run the loop; a robot has the one or the other."""
HAS_SROS2 = all(importlib.util.find_spec(name) for name in ('sros2', 'lxml', 'cryptography'))
NEEDS_SROS2 = pytest.mark.skipif(not HAS_SROS2, reason='sros2 and the extra security are missing')


def granted(role, rule):
    """Return what a role may do in /fleet/ant0 by one rule, as resolved names."""
    policy = ElementTree.fromstring(security.policy_of(role, 'fleet/ant0'))
    profile = policy.find('enclaves/enclave/profiles/profile')
    base = profile.get('ns')

    def resolved(name):
        if name.startswith('~'):
            return f'{base}/{profile.get("node")}{name[1:]}'
        return name if name.startswith('/') else f'{base}/{name}'

    return {
        resolved(entry.text)
        for entries in profile
        if entries.get(rule) == 'ALLOW'
        for entry in entries
    }


def test_there_is_a_policy_for_each_role():
    assert security.roles() == ROLES


@pytest.mark.parametrize('role', ROLES)
def test_a_policy_is_for_the_enclave_of_its_node_and_allows_no_wildcard_but_resources(role):
    policy = ElementTree.fromstring(security.policy_of(role, '/fleet/ant0'))

    (enclave,) = policy.findall('enclaves/enclave')
    assert enclave.get('path') == f'/fleet/ant0/{role}'
    wide = [entry.text for entry in enclave.iter() if '*' in (entry.text or '')]
    assert set(wide) <= {'resource_usage/*'}
    assert not [entry for entry in enclave.iter() if 'DENY' in entry.attrib.values()]


@pytest.mark.parametrize(
    ('topic', 'roles'),
    [
        ('action', ['policy']),
        ('observation', LOOP),
        ('environment', LOOP),
        ('transition', LOOP),
        ('episode', LOOP),
        ('policy_status', ['policy']),
        ('commands', ['robot']),
    ],
)
def test_each_topic_of_the_loop_has_one_role_that_may_publish_it(topic, roles):
    may = [each for each in ROLES if f'/fleet/ant0/{topic}' in granted(each, 'publish')]

    assert may == roles


def test_only_the_trainer_may_send_a_policy():
    service = '/fleet/ant0/policy/load_model'

    assert [role for role in ROLES if service in granted(role, 'request')] == ['train']
    assert [role for role in ROLES if service in granted(role, 'reply')] == ['policy']


def test_an_observer_can_make_nothing_move():
    own = {'/parameter_events', '/rosout'}

    assert granted('observer', 'publish') == own
    assert granted('observer', 'request') == set()


def test_an_unknown_role_is_named_with_those_that_there_are():
    with pytest.raises(ConfigurationError, match=r"'pilot'; there are observer, policy"):
        security.policy_of('pilot', 'ant0')


@pytest.mark.skipif(importlib.util.find_spec('sros2') is not None, reason='sros2 is installed')
def test_without_sros2_the_command_that_installs_it_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r'sudo apt install ros-.*-sros2'):
        security.make_enclaves('ant0', tmp_path / 'keystore', ['sim'])
    assert not (tmp_path / 'keystore').exists()


@NEEDS_SROS2
def test_the_keystore_holds_permissions_that_openssl_finds_signed(tmp_path, capsys):
    keystore = tmp_path / 'keystore'

    assert security.main(['fleet/ant0', '--keystore', str(keystore)]) == 0
    assert '/fleet/ant0/policy' in capsys.readouterr().out
    for role in ROLES:
        enclave = keystore / 'enclaves' / 'fleet' / 'ant0' / role
        command = ['openssl', 'smime', '-verify', '-in', enclave / 'permissions.p7s']
        command += ['-CAfile', keystore / 'public' / 'permissions_ca.cert.pem']
        verified = subprocess.run(command, capture_output=True, text=True, check=False)
        assert verified.returncode == 0, verified.stderr
        assert f'CN=/fleet/ant0/{role}' in verified.stdout
        assert ('<topic>rt/fleet/ant0/action</topic>' in verified.stdout) == (
            role in ('policy', *LOOP)
        )


@NEEDS_SROS2
def test_permissions_that_were_changed_are_no_longer_signed(tmp_path):
    security.make_enclaves('ant0', tmp_path / 'keystore', ['observer'])
    signed = tmp_path / 'keystore' / 'enclaves' / 'ant0' / 'observer' / 'permissions.p7s'
    signed.write_text(signed.read_text().replace('rt/ant0/episode', 'rt/ant0/action_', 1))

    command = ['openssl', 'smime', '-verify', '-in', signed]
    command += ['-CAfile', tmp_path / 'keystore' / 'public' / 'permissions_ca.cert.pem']
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@NEEDS_SROS2
def test_keys_that_are_there_stay(tmp_path):
    keystore = tmp_path / 'keystore'
    security.make_enclaves('ant0', keystore, ['sim'])
    key = (keystore / 'enclaves' / 'ant0' / 'sim' / 'key.pem').read_bytes()

    security.make_enclaves('ant0', keystore, ['sim', 'policy'])

    assert (keystore / 'enclaves' / 'ant0' / 'sim' / 'key.pem').read_bytes() == key


@NEEDS_SROS2
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / 'file').write_text('mine')

    with pytest.raises(ConfigurationError, match='is not a keystore'):
        security.make_enclaves('ant0', tmp_path, ['sim'])
    with pytest.raises(StorageError, match='a file of that name is in the way'):
        security.make_enclaves('ant0', tmp_path / 'file', ['sim'])


@pytest.mark.parametrize(
    ('enclave', 'expected'),
    [
        ('off', {'sim': None, 'recorder': None}),
        ('on', {'sim': '/fleet/ant0/sim', 'recorder': '/fleet/ant0/recorder'}),
        ('/lab', {'sim': '/lab', 'recorder': '/lab'}),
    ],
)
def test_each_node_starts_in_the_enclave_that_is_asked_for(tmp_path, enclave, expected):
    given = {'namespace': 'fleet/ant0', 'enclave': enclave, 'output_folder': str(tmp_path)}
    given |= {'record': 'true', 'recorder': 'rl_edge'}

    prepared = prepare(find_system('desktop'), given)

    found = {}
    for process in prepared.processes:
        words = process.command
        found[process.node.name] = (
            words[words.index('--enclave') + 1] if '--enclave' in words else None
        )
    assert found == expected


def test_an_enclave_that_is_no_path_is_refused(tmp_path):
    given = {'enclave': 'yes', 'output_folder': str(tmp_path)}

    with pytest.raises(ConfigurationError, match=r"enclave is 'yes', must be off, on, or a path"):
        prepare(find_system('desktop'), given)


@pytest.mark.skipif('RL_EDGE_ROS_WHEELS' not in os.environ, reason='a sourced ROS 2 has plugins')
def test_security_that_the_wheels_cannot_give_is_refused_in_one_sentence(ros_domain_id):
    command = [sys.executable, '-m', 'rl_edge_policy.policy_node']

    done = subprocess.run(
        command,
        env={**os.environ, 'ROS_SECURITY_ENABLE': 'true'},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert 'is built without DDS Security' in done.stderr
    assert 'Traceback' not in done.stderr
    assert done.stderr.strip().count('\n') == 0
