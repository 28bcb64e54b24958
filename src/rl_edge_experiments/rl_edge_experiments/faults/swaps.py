"""Models that are swapped for damaged ones while the policy acts."""

import os
import shutil
from array import array

from rl_edge_core.artifact import pack_artifact
from rl_edge_core.files import sha256_of
from rl_edge_experiments.faults.fault import BOTH, REALTIME, Fault
from rl_edge_experiments.rig import FaultFailedError, Rig
from rl_edge_interfaces.srv import LoadModel


def swap_for_corrupt_file(rig: Rig) -> str:
    """Ask for a model whose file has been changed."""
    folder = rig.folder / 'corrupt'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(rig.model, folder)
    for file in folder.glob('*.tflite'):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    return _refused(rig, LoadModel.Request(path=str(folder)), 'hashes to')


def swap_for_corrupt_bytes(rig: Rig) -> str:
    """Send an artifact whose bytes were changed on the way."""
    archive = bytearray(_packed(rig))
    announced = sha256_of(bytes(archive))
    archive[len(archive) // 2] ^= 0xFF
    request = LoadModel.Request(archive=array('B', archive), sha256=announced)
    return _refused(rig, request, 'announced')


def swap_for_noise(rig: Rig) -> str:
    """Send bytes that are no artifact, with a hash that fits."""
    noise = os.urandom(10_000)
    request = LoadModel.Request(archive=array('B', noise), sha256=sha256_of(noise))
    return _refused(rig, request, 'zip')


def swap_for_valid_bytes(rig: Rig) -> str:
    """Send a valid artifact as bytes (no fault: what the three before are measured by)."""
    archive = _packed(rig)
    request = LoadModel.Request(archive=array('B', archive), sha256=sha256_of(archive))
    answer = rig.load_model(request)
    if not answer.success:
        raise FaultFailedError(f'refused: {answer.message}')
    rig.wait_until_steady()
    return f'{answer.message} ({len(archive)} bytes); steps go on'


def _packed(rig: Rig) -> bytes:
    return pack_artifact(rig.model, ['int8'])


def _refused(rig: Rig, request: LoadModel.Request, part: str) -> str:
    before = rig.latest(1)[0].model_hash
    answer = rig.load_model(request)
    if answer.success or part not in answer.message:
        raise FaultFailedError(f'answered {answer.success}: {answer.message}')
    rig.wait_until_steady()
    if rig.latest(1)[0].model_hash != before:
        raise FaultFailedError('another model acts now')
    return f'refused: {answer.message}; the old model acts on'


_REFUSED = 'refused with the reason; the old model acts on'

SWAP_FAULTS = (
    Fault(
        'model swapped for a valid one', BOTH, 'loaded between two actions', swap_for_valid_bytes
    ),
    Fault('model swapped for a changed file', BOTH, _REFUSED, swap_for_corrupt_file),
    Fault('model swapped for changed bytes', (REALTIME,), _REFUSED, swap_for_corrupt_bytes),
    Fault('model swapped for noise', (REALTIME,), _REFUSED, swap_for_noise),
)
