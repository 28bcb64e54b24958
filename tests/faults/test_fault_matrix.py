"""The machinery of the fault matrix, and two of its rows; `make faults` runs them all."""

import json

import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_experiments.faults.experiment import (
    Row,
    chosen_faults,
    run_matrix,
    to_markdown,
)
from rl_edge_experiments.faults.fault import BOTH, REALTIME
from rl_edge_experiments.faults.matrix import FAULTS
from rl_edge_experiments.faults.messages import (
    foreign_actions,
    malformed_actions,
    malformed_observations,
    stale_actions,
)
from rl_edge_interfaces.msg import Action, Observation

FEWEST_FAULTS = 20


def test_there_are_enough_faults_and_each_says_what_is_expected():
    names = [fault.name for fault in FAULTS]

    assert len(set(names)) == len(names) >= FEWEST_FAULTS
    assert all(fault.expected and fault.put.__doc__ for fault in FAULTS)
    for node in ('policy', 'simulator'):
        for end in ('killed', 'stopped', 'restarted'):
            (fault,) = (f for f in FAULTS if f.name.startswith(f'{node} {end}'))
            assert fault.modes == BOTH


def test_an_unknown_fault_lists_those_there_are():
    with pytest.raises(ConfigurationError, match=r'no fault has that .* policy killed'):
        chosen_faults('earthquake')


def test_the_messages_are_what_they_say():
    actions = list(malformed_actions(300, run_id=7, episode=1))
    assert len({len(action.values) for action in actions}) > 5
    assert sum(action.run_id == 7 for action in actions) == 150
    assert all(isinstance(m, Observation) for m in malformed_observations(10, run_id=7))
    assert all(
        a.step < 9 and a.run_id == 7 for a in stale_actions(20, run_id=7, episode=0, step=9)
    )
    assert all(a.run_id != 7 for a in foreign_actions(20, run_id=7, episode=0, step=9))
    assert all(isinstance(action, Action) for action in actions)


def test_a_row_is_written_with_what_was_lost_and_whether_it_passed():
    row = Row('a fault', REALTIME, 'recovery', 'a | b\nc', 3, False)

    content = json.loads(json.dumps(row.to_mapping()))

    assert content['name'] == 'a fault, realtime'
    assert {'name', 'expected', 'happened', 'lost', 'passed'} <= set(content)
    assert '| a fault | realtime | recovery | a / b c | 3 | NO |' in to_markdown([row])


@pytest.mark.parametrize('name', ['policy killed', 'policy that answers NaN'])
def test_a_fault_goes_as_expected_on_real_processes(name, tmp_path, ros_domain_id):
    from rich.console import Console

    faults = chosen_faults(name)

    rows = run_matrix(faults, [REALTIME], tmp_path, domain_id=ros_domain_id, console=Console())

    assert [(row.passed, row.lost) for row in rows] == [(True, 0)], rows
