import pytest

from rl_edge_bringup.description import NodeDescription
from rl_edge_bringup.node_exit import MOST_RESTARTS, describe_exit, exit_code_of, judge_exit

SIM = NodeDescription('rl_edge_sim', 'sim_node', 'sim', 'ant0', ends_run=True)
POLICY = NodeDescription('rl_edge_policy', 'policy_node', 'policy', 'ant0')


def judge(node, return_code, *, on_node_exit='shutdown', restarts=0):
    return judge_exit(
        node,
        label=node.name,
        pid=7,
        return_code=return_code,
        on_node_exit=on_node_exit,
        restarts=restarts,
    )


@pytest.mark.parametrize('on_node_exit', ['shutdown', 'respawn'])
def test_the_run_ends_well_when_the_sim_has_finished(on_node_exit):
    verdict = judge(SIM, 0, on_node_exit=on_node_exit)

    assert verdict.exit_code == 0
    assert verdict.restart_after_sec is None


def test_a_node_that_dies_ends_the_run_with_its_name_and_exit_code():
    verdict = judge(SIM, 3)

    assert verdict.message == 'sim (pid 7) died with exit code 3: the run is over'
    assert verdict.exit_code == 3


def test_a_policy_that_ends_before_the_run_is_over_fails_it_even_with_exit_code_0():
    assert judge(POLICY, 0).exit_code == 1


def test_a_killed_node_has_the_exit_code_that_a_shell_reports():
    verdict = judge(POLICY, -9)

    assert verdict.exit_code == 137
    assert 'policy (pid 7) was killed by SIGKILL (exit code 137)' in verdict.message


def test_restarts_wait_twice_as_long_each_time_and_end():
    delays = [
        judge(POLICY, -9, on_node_exit='respawn', restarts=n).restart_after_sec
        for n in range(MOST_RESTARTS)
    ]
    last = judge(POLICY, -9, on_node_exit='respawn', restarts=MOST_RESTARTS)

    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert last.restart_after_sec is None
    assert 'after 5 restarts' in last.message
    assert last.exit_code == 137


def test_unnamed_signals_are_described_too():
    assert describe_exit(-64) == 'was killed by SIGRTMAX (exit code 192)'
    assert describe_exit(-40) == 'was killed by signal 40 (exit code 168)'
    assert exit_code_of(-15) == 143
