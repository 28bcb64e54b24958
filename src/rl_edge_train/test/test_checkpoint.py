"""Checkpoints: complete or not there, and never half believed."""

import resource

import numpy as np
import pytest

from rl_edge_core.errors import StorageError
from rl_edge_train.checkpoint import (
    Checkpoint,
    CheckpointError,
    paths,
    read,
    read_newest,
    write,
)


def checkpoint_at(steps):
    return Checkpoint(steps, {'steps': steps}, {'agent/a': np.full(3, steps, np.float32)})


@pytest.fixture
def folder(tmp_path):
    for steps in (10, 20):
        write(tmp_path, checkpoint_at(steps))
    return tmp_path


def test_a_checkpoint_comes_back(folder):
    content, faults = read_newest(folder)
    assert content.steps == 20
    assert content.state == {'steps': 20}
    np.testing.assert_array_equal(content.arrays['agent/a'], [20, 20, 20])
    assert not faults


def test_only_the_newest_two_are_kept(folder):
    write(folder, checkpoint_at(30))
    assert [path.name for path in paths(folder)] == ['step_000000000020', 'step_000000000030']


def test_a_changed_byte_is_noticed_and_the_one_before_used(folder):
    arrays = paths(folder)[-1] / 'arrays.npz'
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(content)
    found, faults = read_newest(folder)
    assert found.steps == 10
    assert 'sha256' in faults[0]


@pytest.mark.parametrize('name', ['arrays.npz', 'state.json'])
@pytest.mark.parametrize('kept', [0, 20])
def test_a_half_written_file_is_refused(folder, name, kept):
    path = paths(folder)[-1] / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError):
        read(paths(folder)[-1])
    assert read_newest(folder)[0].steps == 10


def test_a_missing_file_is_refused(folder):
    (paths(folder)[-1] / 'arrays.npz').unlink()
    assert read_newest(folder)[0].steps == 10


def test_pickled_arrays_are_never_written(folder):
    unfit = Checkpoint(30, {}, {'x': np.array([object()])})
    with pytest.raises(ValueError, match='pickle'):
        write(folder, unfit)
    assert read_newest(folder)[0].steps == 20


def test_no_checkpoint_at_all_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match='there is none'):
        read_newest(tmp_path)


def test_a_disk_that_takes_no_more_is_a_clear_error_and_keeps_the_last_checkpoint(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = Checkpoint(30, {}, {'agent/a': np.zeros(100_000, np.float32)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match='cannot be written'):
            write(folder, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_newest(folder)[0].steps == 20
    assert len(list(folder.iterdir())) == 2
