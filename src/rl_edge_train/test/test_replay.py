"""The replay buffer and its journal on disk."""

from pathlib import Path

import numpy as np
import pytest

from rl_edge_core.errors import StorageError
from rl_edge_train import replay_journal
from rl_edge_train.replay import ReplayBuffer, TransitionLayout
from rl_edge_train.replay_journal import ReplayJournal

LAYOUT = TransitionLayout(observation_size=2, action_size=1, extras={'log_prob': 0})


def transitions(*numbers):
    values = np.array(numbers, np.float32)
    return {
        'observation': np.stack([values, values + 0.1, values + 0.2], axis=1),
        'action': values[:, None],
        'reward': 10 * values,
        'next_observation': np.stack([values, values, values], axis=1) + 1,
        'terminated': values == 2,
        'truncated': values == 3,
        'log_prob': -values,
    }


def filled(count, *, capacity):
    buffer = ReplayBuffer(LAYOUT, capacity=capacity, seed=0)
    for number in range(1, count + 1):
        buffer.add(transitions(number))
    return buffer


def rewards_in(buffer):
    rows = buffer.sample(2000)
    return set(LAYOUT.column(rows, 'reward').tolist())


def test_a_transition_comes_back_as_it_was_stored_with_the_kept_inputs_alone():
    buffer = filled(2, capacity=5)
    row = next(row for row in buffer.sample(100) if LAYOUT.column(row, 'reward') == 20.0)
    np.testing.assert_allclose(LAYOUT.column(row, 'observation'), [2.0, 2.1])
    np.testing.assert_allclose(LAYOUT.column(row, 'next_observation'), [3.0, 3.0])
    np.testing.assert_allclose(LAYOUT.column(row, 'action'), [2.0])
    figures = [float(LAYOUT.column(row, n)) for n in ('terminated', 'truncated', 'log_prob')]
    assert figures == [1.0, 0.0, -2.0]


def test_sampling_before_the_buffer_is_full_returns_only_what_was_stored():
    assert rewards_in(filled(3, capacity=1000)) == {10.0, 20.0, 30.0}


def test_after_a_full_turn_of_the_ring_the_oldest_are_gone():
    assert rewards_in(filled(12, capacity=5)) == {80.0, 90.0, 100.0, 110.0, 120.0}


def test_a_batch_may_wrap_around_the_end_of_the_ring():
    buffer = filled(4, capacity=5)
    buffer.add(transitions(5, 6, 7))
    assert rewards_in(buffer) == {30.0, 40.0, 50.0, 60.0, 70.0}


def test_a_sequence_is_of_one_environment_and_in_its_order():
    buffer = ReplayBuffer(LAYOUT, capacity=7, seed=0)
    for step in range(10):  # two environments: even and odd numbers
        buffer.add(transitions(2 * step, 2 * step + 1))
    rows = buffer.sample_sequences(50, 4, length=3, stride=2)
    assert rows.shape == (50, 4, 3, LAYOUT.width)
    numbers = LAYOUT.column(rows, 'action')[..., 0].reshape(-1, 3)
    np.testing.assert_array_equal(numbers[:, 1:] - numbers[:, :-1], 2.0)
    assert set(numbers[:, 0]) == {13, 14, 15}  # the ring holds 13 to 19


def test_too_few_transitions_for_a_sequence_are_an_error():
    buffer = filled(4, capacity=10)
    with pytest.raises(ValueError, match='4 transitions are too few for sequences of 3, 2 apart'):
        buffer.sample_sequences(1, 1, length=3, stride=2)


def test_an_empty_buffer_refuses_to_sample():
    with pytest.raises(ValueError, match='empty'):
        ReplayBuffer(LAYOUT, capacity=5, seed=0).sample(1)


def test_samples_have_the_asked_shape_and_follow_the_seed():
    first, second = filled(5, capacity=5), filled(5, capacity=5)
    sample = first.sample(3, 4)
    assert sample.shape == (3, 4, LAYOUT.width)
    np.testing.assert_array_equal(sample, second.sample(3, 4))


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(replay_journal, 'SEGMENT_ROWS', 4)


def journal_of(buffer, folder):
    journal = ReplayJournal(folder, width=LAYOUT.width)
    for number in range(1, buffer.added + 1):
        journal.append(LAYOUT.rows(transitions(number)))
    journal.flush()
    return journal


@pytest.mark.usefixtures('small_segments')
@pytest.mark.parametrize('count', [3, 4, 5, 11, 12])
def test_a_buffer_comes_back_from_its_journal(tmp_path, count):
    buffer = filled(count, capacity=5)
    journal_of(buffer, tmp_path).close()
    loaded = ReplayBuffer(LAYOUT, capacity=5, seed=0)
    assert ReplayJournal(tmp_path, width=LAYOUT.width).load_into(loaded, written=count) == len(
        buffer
    )
    np.testing.assert_array_equal(loaded.sample(50), buffer.sample(50))


@pytest.mark.usefixtures('small_segments')
def test_rows_after_the_checkpoint_are_cut_off(tmp_path):
    journal_of(filled(11, capacity=5), tmp_path).close()
    loaded = ReplayBuffer(LAYOUT, capacity=5, seed=0)
    journal = ReplayJournal(tmp_path, width=LAYOUT.width)
    journal.load_into(loaded, written=6)
    journal.append(LAYOUT.rows(transitions(7)))
    journal.close()
    assert rewards_in(loaded) == {20.0, 30.0, 40.0, 50.0, 60.0}
    again = ReplayBuffer(LAYOUT, capacity=5, seed=0)
    ReplayJournal(tmp_path, width=LAYOUT.width).load_into(again, written=7)
    assert rewards_in(again) == {30.0, 40.0, 50.0, 60.0, 70.0}


@pytest.mark.usefixtures('small_segments')
def test_without_its_newest_segment_a_journal_starts_afresh(tmp_path):
    journal_of(filled(11, capacity=5), tmp_path).close()
    (tmp_path / '000002.rows').unlink()
    loaded = ReplayBuffer(LAYOUT, capacity=5, seed=0)
    journal = ReplayJournal(tmp_path, width=LAYOUT.width)
    assert journal.load_into(loaded, written=11) == 0
    for number in (21, 22):
        loaded.add_rows(LAYOUT.rows(transitions(number)))
        journal.append(LAYOUT.rows(transitions(number)))
    journal.close()
    assert rewards_in(loaded) == {210.0, 220.0}
    again = ReplayBuffer(LAYOUT, capacity=5, seed=0)
    ReplayJournal(tmp_path, width=LAYOUT.width).load_into(again, written=loaded.added)
    assert rewards_in(again) == {210.0, 220.0}


@pytest.mark.usefixtures('small_segments')
def test_segments_that_no_buffer_needs_are_dropped(tmp_path):
    journal = journal_of(filled(11, capacity=5), tmp_path)
    journal.drop_before(6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['000001.rows', '000002.rows']


def test_a_full_disk_is_a_clear_error():
    # /dev/full accepts an open and refuses every byte, as a full disk does.
    journal = ReplayJournal(Path('/dev'), width=LAYOUT.width)
    journal._file = open('/dev/full', 'ab', buffering=0)  # noqa: SIM115
    journal._segment = 0
    with pytest.raises(StorageError, match='disk is full'):
        journal.append(LAYOUT.rows(transitions(1)))
    journal.close()
