"""Bags that end before the first step, and folders that a bag lies in: one sentence each."""

import pytest
from bag_writer import BagWriter
from loop_messages import environment, transition

from rl_edge_core.errors import ConfigurationError
from rl_edge_eval.__main__ import main
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.messages import BagError
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.recorded_robot import read_robot


@pytest.fixture
def waiting(tmp_path):
    """What is recorded of a simulator that nobody answers."""
    writer = BagWriter(tmp_path / 'waiting' / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    writer.close()
    return tmp_path / 'waiting'


@pytest.fixture
def killed(tmp_path):
    """What a recorder leaves that was killed when it began."""
    folder = tmp_path / 'killed' / 'bag'
    BagWriter(folder).flush()
    (folder / 'metadata.yaml').unlink(missing_ok=True)
    return tmp_path / 'killed'


def test_a_recording_before_the_first_step_is_said_to_be_one(waiting, capsys):
    assert main(['bag', str(waiting), '--plots', str(waiting / 'plots')]) == 0
    said = capsys.readouterr().out
    assert 'no step is in it: the recording ended before the first one' in said
    assert 'nothing was recorded that could be plotted' in said

    assert main(['replay', str(waiting), '--model', 'ant_v5/best']) == 2
    assert 'has no transitions: there is nothing to replay' in capsys.readouterr().err
    with pytest.raises(Exception, match='has no transition of /ant0: there is nothing to see'):
        read_robot(waiting, None)


def test_a_recording_without_a_message_is_said_to_be_one(killed, capsys):
    assert main(['bag', str(killed)]) == 0
    assert 'no topic of the control loop is in it: there is nothing to evaluate' in (
        capsys.readouterr().out
    )
    assert main(['replay', str(killed), '--model', 'ant_v5/best']) == 2
    assert 'has no transitions: there is nothing to replay' in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match='has no topic of the control loop in it: it was'):
        read_robot(killed, None)


def test_the_folder_of_a_run_stands_for_the_one_bag_in_it(waiting):
    assert metrics_of_bag(waiting).messages == metrics_of_bag(waiting / 'bag').messages == 1
    assert Bag(waiting).path == waiting / 'bag'

    writer = BagWriter(waiting / 'bag_2')
    writer.add('/ant0/transition', 'Transition', transition(0, 0), time_sec=1)
    writer.close()
    with pytest.raises(BagError, match=r'has several bags in it: give one of .*/bag, .*/bag_2'):
        Bag(waiting)
