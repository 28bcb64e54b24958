"""Files as Stable-Baselines3, rsl_rl and PyTorch write them, made without those packages."""

import io
import json
import struct
import zipfile

import numpy as np


def text(value):
    raw = value.encode()
    return b'X' + struct.pack('<I', len(raw)) + raw


def integer(value):
    return b'J' + struct.pack('<i', value)


def tensor(number, array):
    """Return the instructions of a pickle that build a float tensor from storage ``number``."""
    sizes = b'(' + b''.join(map(integer, array.shape)) + b't'
    strides = [stride // array.itemsize for stride in array.strides]
    steps = b'(' + b''.join(map(integer, strides)) + b't'
    storage = (
        b'('
        + text('storage')
        + b'ctorch\nFloatStorage\n'
        + text(str(number))
        + text('cpu')
        + integer(array.size)
        + b'tQ'
    )
    hooks = b'ccollections\nOrderedDict\n)R'
    return (
        b'ctorch._utils\n_rebuild_tensor_v2\n('
        + storage
        + integer(0)
        + sizes
        + steps
        + b'\x89'
        + hooks
        + b'tR'
    )


def torch_file(tree, *, hostile=b''):
    """Return a zip file as `torch.save` writes it; ``tree`` nests dictionaries of arrays."""
    arrays = []

    def instructions(value):
        if isinstance(value, dict):
            items = b''.join(text(str(key)) + instructions(item) for key, item in value.items())
            return b'}(' + items + b'u'
        if isinstance(value, int):
            return integer(value)
        arrays.append(np.ascontiguousarray(value, np.float32))
        return tensor(len(arrays) - 1, arrays[-1])

    program = b'\x80\x02' + (hostile or instructions(tree)) + b'.'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('archive/data.pkl', program)
        for number, array in enumerate(arrays):
            archive.writestr(f'archive/data/{number}', array.tobytes())
        archive.writestr('archive/version', '3\n')
    return buffer.getvalue()


def box(size):
    return {':type:': "<class 'gymnasium.spaces.box.Box'>", '_shape': [size]}


def sb3_file(path, tensors, data=None, *, hostile=b''):
    """Write a zip file as Stable-Baselines3 does."""
    content = {
        'observation_space': box(1),
        'action_space': box(1),
        'policy_kwargs': {},
        # What unpickling this would run must never happen: nothing reads it.
        'policy_class': {':type:': "<class 'abc.ABCMeta'>", ':serialized:': 'Y29zCnN5c3RlbQo='},
        **(data or {}),
    }
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('data', json.dumps(content))
        archive.writestr('policy.pth', torch_file(tensors, hostile=hostile))
    return path


def dense(generator, inputs, units, name):
    scale = 1 / np.sqrt(inputs)
    return {
        f'{name}.weight': generator.normal(size=(units, inputs)) * scale,
        f'{name}.bias': generator.normal(size=units) * 0.1,
    }


def ppo_tensors(observations, actions, widths=(16, 12), seed=0):
    generator = np.random.default_rng(seed)
    tensors, size = {'log_std': np.zeros(actions)}, observations
    for number, width in enumerate(widths):
        tensors |= dense(generator, size, width, f'mlp_extractor.policy_net.{2 * number}')
        tensors |= dense(generator, size, width, f'mlp_extractor.value_net.{2 * number}')
        size = width
    return (
        tensors
        | dense(generator, size, actions, 'action_net')
        | dense(generator, size, 1, 'value_net')
    )


def sac_tensors(observations, actions, widths=(16, 12), seed=0):
    generator = np.random.default_rng(seed)
    tensors, size = {}, observations
    for number, width in enumerate(widths):
        tensors |= dense(generator, size, width, f'actor.latent_pi.{2 * number}')
        size = width
    tensors |= dense(generator, size, actions, 'actor.mu')
    tensors |= dense(generator, size, actions, 'actor.log_std')
    return tensors | dense(generator, observations + actions, 4, 'critic.qf0.0')


def forward(tensors, prefix, observations, activation):
    """Return what a chain of dense layers computes, in float64."""
    value = np.asarray(observations, np.float64)
    numbers = sorted(
        int(name.split('.')[-2])
        for name in tensors
        if name.startswith(f'{prefix}.') and name.endswith('weight')
    )
    for number in numbers:
        kernel = np.asarray(tensors[f'{prefix}.{number}.weight'], np.float32).astype(np.float64)
        bias = np.asarray(tensors[f'{prefix}.{number}.bias'], np.float32)
        value = activation(value @ kernel.T + bias)
    return value


def last(tensors, name, value):
    kernel = np.asarray(tensors[f'{name}.weight'], np.float32).astype(np.float64)
    return value @ kernel.T + np.asarray(tensors[f'{name}.bias'], np.float32)
