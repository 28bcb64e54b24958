"""Models that are replaced by damaged ones, or too large, while the policy acts."""

import os
import resource
import shutil
from array import array

import psutil
import pytest
from fault_loop import FaultLoop

from rl_edge_core.archive import pack_artifact
from rl_edge_core.artifact import FULL_RECIPE
from rl_edge_core.files import sha256_of
from rl_edge_interfaces.srv import LoadModel

REFUSED = 'refused with the reason; the old model acts on'


def archive_of(loop: FaultLoop) -> bytes:
    return pack_artifact(loop.model, ['int8'])


def refused(loop: FaultLoop, request: LoadModel.Request, reason: str) -> str:
    """Ask for a model that must be refused for ``reason``; return what happened."""
    before = loop.latest(1)[0].model_hash
    answer = loop.load_model(request)
    assert not answer.success
    assert reason in answer.message
    loop.wait_until_steady()
    assert loop.latest(1)[0].model_hash == before
    return f'refused: {answer.message}; the old model acts on'


@pytest.mark.faults('model swapped for a valid one', expected='loaded between two actions')
def test_valid_bytes(loop, happened):
    archive = archive_of(loop)

    # By name: the loop may act by the full model, which a compressed one does not replace unasked.
    answer = loop.load_model(
        LoadModel.Request(archive=array('B', archive), sha256=sha256_of(archive), recipe='int8')
    )

    assert answer.success, answer.message
    loop.wait_until_steady()
    happened(f'{answer.message} ({len(archive)} bytes); steps go on')


@pytest.mark.faults('model swapped for a changed file', expected=REFUSED)
def test_changed_file(loop, happened):
    folder = loop.folder / 'changed'
    shutil.copytree(loop.model, folder)
    for file in folder.glob('*.tflite'):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)

    happened(refused(loop, LoadModel.Request(path=str(folder)), 'hashes to'))


@pytest.mark.faults('model swapped for changed bytes', expected=REFUSED, only='realtime')
def test_changed_bytes(loop, happened):
    archive = bytearray(archive_of(loop))
    announced = sha256_of(bytes(archive))
    archive[len(archive) // 2] ^= 0xFF

    request = LoadModel.Request(archive=array('B', archive), sha256=announced)

    happened(refused(loop, request, 'announced'))


@pytest.mark.faults('model swapped for noise', expected=REFUSED, only='realtime')
def test_noise(loop, happened):
    noise = os.urandom(10_000)

    request = LoadModel.Request(archive=array('B', noise), sha256=sha256_of(noise))

    happened(refused(loop, request, 'zip'))


@pytest.mark.faults(
    'no memory for the model',
    expected='refused, or an exit with a named cause and a restart',
    only='realtime',
)
def test_no_memory_for_the_model(loop, happened):
    pid = loop.policy.pid('policy')
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (psutil.Process(pid).memory_info().vms, before[1]))

    def exits() -> list[str]:
        lines = loop.policy.log.of('run')
        return [line for line in lines if f'(pid {pid})' in line and 'started' not in line]

    # The full model needs TensorFlow: far more than the process has left within its limit.
    request = LoadModel.Request(path=str(loop.model), recipe=FULL_RECIPE)
    with loop.observer.client(LoadModel, 'policy/load_model') as client:
        loop.wait_for('the service load_model', client.service_is_ready)
        answer = client.call_async(request)
        loop.wait_for('an answer, or an exit with a named cause', lambda: answer.done() or exits())
    if answer.done():
        resource.prlimit(pid, resource.RLIMIT_AS, before)
        assert not answer.result().success
        how = f'refused: {answer.result().message}'
    else:
        how = exits()[0]
    loop.wait_until_steady()
    happened(f'{how}; steps go on')
