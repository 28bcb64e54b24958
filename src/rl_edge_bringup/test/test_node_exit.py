import pytest

from rl_edge_bringup.node_exit import MOST_RESTARTS, decide_after_exit, describe_exit, exit_code_of
from rl_edge_bringup.systems import NodeDescription

SIM = NodeDescription('rl_edge_sim', 'sim_node', 'sim', 'ant0', ends_run=True)
POLICY = NodeDescription('rl_edge_policy', 'policy_node', 'policy', 'ant0')


def decide(node, return_code, *, on_node_exit='shutdown', restarts=0):
    return decide_after_exit(
        node,
        label=node.name,
        pid=7,
        return_code=return_code,
        on_node_exit=on_node_exit,
        restarts=restarts,
    )


@pytest.mark.parametrize('on_node_exit', ['shutdown', 'respawn'])
def test_the_run_ends_well_when_the_sim_has_finished(on_node_exit):
    decision = decide(SIM, 0, on_node_exit=on_node_exit)

    assert decision.exit_code == 0
    assert decision.restart_after_sec is None


def test_a_node_that_dies_ends_the_run_with_its_name_and_exit_code():
    decision = decide(SIM, 3)

    assert decision.message == 'sim (pid 7) died with exit code 3: the run is over'
    assert decision.exit_code == 3


def test_a_node_that_was_told_to_end_ends_the_run_without_an_error():
    decision = decide(POLICY, 0)  # as after `ros2 lifecycle set /ant0/policy shutdown`

    assert decision.is_over
    assert decision.exit_code == 0
    assert decision.message == 'policy (pid 7) ended with exit code 0: the run is over'


@pytest.mark.parametrize('node', [SIM, POLICY], ids=lambda node: node.name)
@pytest.mark.parametrize('return_code', [0, 3, -9])
def test_where_exits_are_ignored_the_run_goes_on(node, return_code):
    decision = decide(node, return_code, on_node_exit='ignore')

    assert not decision.is_over
    assert decision.restart_after_sec is None


def test_a_killed_node_has_the_exit_code_that_a_shell_reports():
    decision = decide(POLICY, -9)

    assert decision.exit_code == 137
    assert 'policy (pid 7) was killed by SIGKILL (exit code 137)' in decision.message


def test_restarts_wait_twice_as_long_each_time_and_end():
    delays = [
        decide(POLICY, -9, on_node_exit='respawn', restarts=n).restart_after_sec
        for n in range(MOST_RESTARTS)
    ]
    last = decide(POLICY, -9, on_node_exit='respawn', restarts=MOST_RESTARTS)

    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert last.restart_after_sec is None
    assert 'after 5 restarts' in last.message
    assert last.exit_code == 137


def test_unnamed_signals_are_described_too():
    assert describe_exit(-64) == 'was killed by SIGRTMAX (exit code 192)'
    assert describe_exit(-40) == 'was killed by signal 40 (exit code 168)'
    assert exit_code_of(-15) == 143
