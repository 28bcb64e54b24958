"""Each incoming action is classified by its address, worked through by hand."""

import pytest

from rl_edge_core.loop.action_gate import ActionCounts, ActionGate, ActionKind
from rl_edge_interfaces.msg import Action

RUN, OTHER_RUN = 7, 8


@pytest.fixture
def gate():
    return ActionGate(RUN)


def classify(gate, episode, step, *, run=RUN):
    counts = ActionCounts()
    kind = gate.classify_action(Action(run_id=run, episode=episode, step=step), counts)
    counted = [name for name, count in vars(counts).items() if count]
    assert counted == ([] if kind is ActionKind.ANSWER else [kind.name.lower()])
    return kind


def test_first_answer_counts_and_the_second_is_a_duplicate(gate):
    gate.expect(0, 0)
    assert classify(gate, 0, 0) is ActionKind.ANSWER
    assert classify(gate, 0, 0) is ActionKind.DUPLICATE
    gate.expect(0, 1)
    assert classify(gate, 0, 0) is ActionKind.DUPLICATE
    assert classify(gate, 0, 1) is ActionKind.ANSWER


def test_answer_to_a_step_that_went_on_without_it_is_late(gate):
    gate.expect(0, 0)
    gate.expect(0, 1)  # step 0 was missed
    assert classify(gate, 0, 0) is ActionKind.LATE
    assert classify(gate, 0, 1) is ActionKind.ANSWER
    gate.expect(0, 2)
    assert classify(gate, 0, 0) is ActionKind.LATE
    assert classify(gate, 0, 1) is ActionKind.DUPLICATE


def test_answers_to_an_earlier_episode(gate):
    gate.expect(0, 4)
    assert classify(gate, 0, 4) is ActionKind.ANSWER
    gate.expect(1, 0)
    assert classify(gate, 0, 4) is ActionKind.DUPLICATE
    assert classify(gate, 0, 5) is ActionKind.LATE  # open when the episode was reset
    assert classify(gate, 1, 0) is ActionKind.ANSWER


@pytest.mark.parametrize(('episode', 'step'), [(1, 3), (2, 0)])
def test_answer_to_what_was_not_published_is_foreign(gate, episode, step):
    gate.expect(1, 2)
    assert classify(gate, episode, step) is ActionKind.FOREIGN
    assert classify(gate, 1, 2) is ActionKind.ANSWER


def test_answer_to_another_run_is_foreign_whatever_it_says(gate):
    assert classify(gate, 0, 0) is ActionKind.FOREIGN  # nothing is published yet
    gate.expect(0, 0)
    assert classify(gate, 0, 0, run=OTHER_RUN) is ActionKind.FOREIGN
    assert classify(gate, 0, 0) is ActionKind.ANSWER


def test_steps_out_of_order(gate):
    for step in range(5):
        gate.expect(0, step)
        assert classify(gate, 0, step) is ActionKind.ANSWER
    gate.expect(0, 5)
    assert [classify(gate, 0, step) for step in (3, 1, 4)] == [ActionKind.DUPLICATE] * 3
    assert classify(gate, 0, 6) is ActionKind.FOREIGN
    assert classify(gate, 0, 5) is ActionKind.ANSWER
