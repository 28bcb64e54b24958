"""Each incoming action is judged by its address, worked through by hand."""

import numpy as np
import pytest

from rl_edge_sim.action_gate import ActionCounts, ActionGate, Answer, Verdict

RUN, OTHER_RUN = 7, 8


@pytest.fixture
def gate():
    return ActionGate(RUN)


def judge(gate, episode, step, *, run=RUN):
    counts = ActionCounts()
    verdict = gate.judge(Answer(run, episode, step, np.zeros(1, np.float32)), counts)
    counted = [name for name, count in vars(counts).items() if count]
    assert counted == ([] if verdict is Verdict.ANSWERS else [verdict.name.lower()])
    return verdict


def test_first_answer_counts_and_the_second_is_a_duplicate(gate):
    gate.expect(0, 0)
    assert judge(gate, 0, 0) is Verdict.ANSWERS
    assert judge(gate, 0, 0) is Verdict.DUPLICATE
    gate.expect(0, 1)
    assert judge(gate, 0, 0) is Verdict.DUPLICATE
    assert judge(gate, 0, 1) is Verdict.ANSWERS


def test_answer_to_a_step_that_went_on_without_it_is_late(gate):
    gate.expect(0, 0)
    gate.expect(0, 1)  # step 0 was missed
    assert judge(gate, 0, 0) is Verdict.LATE
    assert judge(gate, 0, 1) is Verdict.ANSWERS
    gate.expect(0, 2)
    assert judge(gate, 0, 0) is Verdict.LATE
    assert judge(gate, 0, 1) is Verdict.DUPLICATE


def test_answers_to_an_earlier_episode(gate):
    gate.expect(0, 4)
    assert judge(gate, 0, 4) is Verdict.ANSWERS
    gate.expect(1, 0)
    assert judge(gate, 0, 4) is Verdict.DUPLICATE
    assert judge(gate, 0, 5) is Verdict.LATE  # open when the episode was reset
    assert judge(gate, 1, 0) is Verdict.ANSWERS


@pytest.mark.parametrize(('episode', 'step'), [(1, 3), (2, 0)])
def test_answer_to_what_was_not_published_is_foreign(gate, episode, step):
    gate.expect(1, 2)
    assert judge(gate, episode, step) is Verdict.FOREIGN
    assert judge(gate, 1, 2) is Verdict.ANSWERS


def test_answer_to_another_run_is_foreign_whatever_it_says(gate):
    assert judge(gate, 0, 0) is Verdict.FOREIGN  # nothing is published yet
    gate.expect(0, 0)
    assert judge(gate, 0, 0, run=OTHER_RUN) is Verdict.FOREIGN
    assert judge(gate, 0, 0) is Verdict.ANSWERS


def test_steps_out_of_order(gate):
    for step in range(5):
        gate.expect(0, step)
        assert judge(gate, 0, step) is Verdict.ANSWERS
    gate.expect(0, 5)
    assert [judge(gate, 0, step) for step in (3, 1, 4)] == [Verdict.DUPLICATE] * 3
    assert judge(gate, 0, 6) is Verdict.FOREIGN
    assert judge(gate, 0, 5) is Verdict.ANSWERS
