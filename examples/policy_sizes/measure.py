"""Time networks of the sizes that people train, in LiteRT and in ONNX Runtime, in one run.

    tools/env --with onnx python examples/policy_sizes/measure.py [--turns 200] [--only NAME]

Weights are random: an action takes as long as with trained ones. Each turn gives every candidate
20 ms in an order of its own, so that a ratio compares what ran side by side. Prints Markdown.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.tensorflow_setup import load_tensorflow

NETWORKS = {
    'SB3 default of SAC, HalfCheetah': (17, (256, 256), 'relu', 6),
    'SB3 zoo, PPO on Ant: net_arch [256, 256], tanh': (27, (256, 256), 'tanh', 8),
    'SB3 zoo, TD3 on Ant: net_arch [400, 300]': (27, (400, 300), 'relu', 8),
    'SB3 default of PPO: [64, 64], tanh': (27, (64, 64), 'tanh', 8),
    'Isaac Lab, flat terrain': (48, (512, 256, 128), 'elu', 12),
    'Isaac Lab, rough terrain': (235, (512, 256, 128), 'elu', 12),
}
"""Name -> observation values, hidden layers, activation, action values."""


def make_artifact(name: str, folder: Path) -> Path:
    """Write an artifact of random weights with the float32 and the int8 actor."""
    from rl_edge_compress.dense_actor import DenseActor, DenseLayer
    from rl_edge_compress.export import export_artifact

    inputs, hidden, activation, actions = NETWORKS[name]
    random = np.random.default_rng(0)
    sizes = (inputs, *hidden, actions)
    layers = [
        DenseLayer(
            (random.normal(size=(n, m)) * (2 / n) ** 0.5).astype(np.float32),
            (0.1 * random.normal(size=m)).astype(np.float32),
            activation if place < len(hidden) else 'identity',
        )
        for place, (n, m) in enumerate(itertools.pairwise(sizes))
    ]
    spec = EnvironmentSpec(
        environment_id='sizes',
        observation_names=tuple(f'o{i}' for i in range(inputs)),
        observation_units=('1',) * inputs,
        action_names=tuple(f'a{i}' for i in range(actions)),
        action_units=('1',) * actions,
        action_low=(-1.0,) * actions,
        action_high=(1.0,) * actions,
        safe_action=(0.0,) * actions,
        control_period_sec=0.02,
        max_episode_steps=0,
    )
    out = folder / 'policy'
    seen = random.normal(size=(500, inputs)).astype(np.float32)
    export_artifact(
        DenseActor(layers).keras_model(spec), spec=spec, name='sizes', out=out, calibration=seen
    )
    return out


def row(name: str, turns: int) -> str:
    """Return the line of the table for one network."""
    from rl_edge_compress.benchmark import Candidate, time_in_turns
    from rl_edge_core.artifact import load_manifest

    inputs, hidden, activation, actions = NETWORKS[name]
    int8, float32, onnx = (
        Candidate('litert', 'int8'),
        Candidate('litert', 'float32'),
        Candidate('onnxruntime', 'float32'),
    )
    with tempfile.TemporaryDirectory(prefix='rl_edge-') as temporary:
        folder = make_artifact(name, Path(temporary))
        manifest = load_manifest(folder)
        seen = np.random.default_rng(1).normal(size=(100, inputs)).astype(np.float32)
        times, left_out = time_in_turns(folder, [float32, int8, onnx], seen, turns=turns)
    if left_out:
        raise SystemExit(f'{name}: {"; ".join(left_out)}')
    low, ratio, high = np.percentile(times[int8] / times[onnx], [25, 50, 75])
    cells = [
        name,
        f'{inputs}-{"-".join(map(str, hidden))}-{actions} {activation}',
        *(f'{manifest.entry(recipe).bytes:,}' for recipe in ('float32', 'int8')),
        *(f'{np.median(times[one]):.1f}' for one in (float32, int8, onnx)),
        f'{ratio:.2f} [{low:.2f}, {high:.2f}]',
    ]
    return f'| {" | ".join(cells)} |'


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--turns', type=int, default=200)
    parser.add_argument('--only', default='', help='networks whose name holds this')
    options = parser.parse_args()
    load_tensorflow()
    header = (
        'policy',
        'network',
        'float32 bytes',
        'int8 bytes',
        'LiteRT float32 us',
        'LiteRT int8 us',
        'ONNX Runtime float32 us',
        'int8 / ONNX Runtime, median and quartiles of turns',
    )
    print(f'| {" | ".join(header)} |', '| --- ' * len(header) + '|', sep='\n', flush=True)
    for name in NETWORKS:
        if options.only in name:
            print(row(name, options.turns), flush=True)


if __name__ == '__main__':
    main()
