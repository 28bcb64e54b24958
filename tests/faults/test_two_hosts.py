"""Simulator and policy in two network namespaces joined by a virtual cable."""

import os
import subprocess

import pytest

from rl_edge_bringup.experiments.faults.rig import ENVIRONMENT
from rl_edge_bringup.experiments.network import (
    environment,
    inside,
    missing_rights,
    two_hosts,
)
from rl_edge_bringup.experiments.two_hosts import (
    cut_the_link,
    loop_on_two_hosts,
    measure_robots,
    send_policy,
)
from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import UNTRAINED
from rl_edge_bringup.untrained import ensure_untrained
from rl_edge_core.errors import ConfigurationError


@pytest.fixture
def hosts():
    if reason := missing_rights():
        pytest.skip(reason)
    with two_hosts() as hosts:
        yield hosts


@pytest.fixture(scope='module')
def model():
    return ensure_untrained(ENVIRONMENT, '', results_folder() / UNTRAINED)


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


def test_a_cut_a_sent_policy_and_recovery(hosts, model, tmp_path, ros_domain_id):
    with loop_on_two_hosts(
        hosts,
        folder=tmp_path,
        model=model,
        domain_id=ros_domain_id,
        environment_id=ENVIRONMENT,
        mode='realtime',
    ) as (rig,):
        processes = rig.simulator.pid('sim'), rig.policy.pid('policy')
        cut = cut_the_link(rig, hosts)
        sent = send_policy(rig, model, 'int8')
        same = rig.simulator.pid('sim'), rig.policy.pid('policy')
        log = '\n'.join(rig.simulator.log.of())

    assert cut['safe_actions'] > 0
    assert cut['lost_transitions'] == 0
    assert 'safe action' in cut['report']
    assert sent['bytes'] > 1000
    assert same == processes, log


def test_two_robots_keep_to_themselves(hosts, model, tmp_path, ros_domain_id):
    with loop_on_two_hosts(
        hosts,
        folder=tmp_path,
        model=model,
        domain_id=ros_domain_id,
        environment_id=ENVIRONMENT,
        mode='lockstep',
        robots=2,
    ) as rigs:
        figures = measure_robots(rigs, 300)
        runs = []
        for rig in rigs:
            with rig.watched() as observer:
                rig.wait_until_steady()
                rig.wait_for_episode()
                runs.append({t.run_id for t in observer.transitions()})
                foreign = rig.counts('foreign_actions')
            assert foreign == 0

    assert figures['robots'] == 2
    assert runs[0].isdisjoint(runs[1])


def test_missing_rights_are_named(monkeypatch):
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)

    with pytest.raises(ConfigurationError, match='network namespaces need root'), two_hosts():
        pass


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv('RL_EDGE_HERE', 'before')
    monkeypatch.delenv('RL_EDGE_NEW', raising=False)
    with environment(RL_EDGE_HERE='during', RL_EDGE_NEW='new'):
        assert os.environ['RL_EDGE_HERE'] == 'during'
    assert os.environ['RL_EDGE_HERE'] == 'before'
    assert 'RL_EDGE_NEW' not in os.environ
