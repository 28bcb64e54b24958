"""Simulator and policy in two network namespaces joined by a virtual cable."""

import json
import os
import subprocess
import sys

import pytest
from result_keys import TWO_HOSTS, missing_keys

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.process_environment import environment_variables
from rl_edge_experiments.network import inside, missing_rights, two_hosts


@pytest.fixture
def hosts():
    if reason := missing_rights():
        pytest.skip(reason)
    with two_hosts() as hosts:
        yield hosts


def network_of(link):
    done = subprocess.run(['ip', 'link', 'show', link], capture_output=True, check=False)
    return done.returncode == 0


def test_a_thread_enters_a_host_and_comes_back(hosts):
    assert not network_of(hosts.first_link)
    with inside(hosts.first):
        assert network_of(hosts.first_link)
        ping = ['ping', '-c', '1', '-W', '2', hosts.second_address]
        if subprocess.run(['which', 'ping'], capture_output=True, check=False).returncode == 0:
            assert subprocess.run(ping, capture_output=True, check=False).returncode == 0
    assert not network_of(hosts.first_link)


def test_two_hosts_work_together_through_a_cut(tmp_path, ros_domain_id):
    # In a process of its own: the middleware looks at the network interfaces once per process.
    if reason := missing_rights():
        pytest.skip(reason)
    words = ['environment_id:=Pendulum-v1', 'steps:=200', 'rounds:=1', f'output:={tmp_path}']
    command = [sys.executable, '-m', 'rl_edge_bringup', 'two_hosts', *words]

    done = subprocess.run(
        [*command, f'ros_domain_id:={ros_domain_id}'], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / 'two_hosts.json').read_text())
    assert missing_keys(content, TWO_HOSTS) == []
    assert {link['steps'] for link in content['links'].values()} == {200}
    assert content['response_ratio_p50'] > 0
    assert content['cut']['safe_actions'] > 0
    assert content['cut']['lost_transitions'] == 0
    assert 'safe action' in content['cut']['report']
    assert content['load_model']['bytes'] > 1000
    assert [row['robots'] for row in content['robots']] == [1, 2, 4]


def test_missing_rights_are_named(monkeypatch):
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)

    with pytest.raises(ConfigurationError, match='network namespaces need root'), two_hosts():
        pass


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv('RL_EDGE_HERE', 'before')
    monkeypatch.delenv('RL_EDGE_NEW', raising=False)
    with environment_variables({'RL_EDGE_HERE': 'during', 'RL_EDGE_NEW': 'new'}):
        assert os.environ['RL_EDGE_HERE'] == 'during'
    assert os.environ['RL_EDGE_HERE'] == 'before'
    assert 'RL_EDGE_NEW' not in os.environ
