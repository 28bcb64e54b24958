"""The policy that robots start with before the train node has learned anything.

Run as a program (``python -m rl_edge_train.online.initial_policy`` with preset, seed, environment
id, its arguments and the folder, which it prints) so that TensorFlow is loaded in a process of its
own and not in the one that starts nodes.
"""

import sys
import tempfile
from pathlib import Path

from rl_edge_core.environment_spec import environment_arguments
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.tensorflow_setup import load_tensorflow
from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_train.run_config import load_preset


def write_initial_policy(
    preset: str, *, seed: int, environment_id: str, arguments: str, out: Path
) -> None:
    """Write the artifact of a preset's networks before training, for an environment.

    `arguments` is a YAML mapping for the environment. Raise ConfigurationError for an unknown
    preset or environment, and for an algorithm that can't learn from transitions.
    """
    run = load_preset(preset)
    environment = make_environment(environment_id, **environment_arguments(arguments))
    spec = spec_of(environment)
    environment.close()
    load_tensorflow()  # when all is right, since that takes seconds
    from rl_edge_train.online.learner import export_online_policy, make_learner

    with tempfile.TemporaryDirectory() as folder:
        learner = make_learner(run, spec, seed=seed, folder=Path(folder))
        export_online_policy(learner, spec, run=run, out=out)
        learner.close()


if __name__ == '__main__':
    _preset, _seed, _id, _arguments, _out = sys.argv[1:]
    try:
        write_initial_policy(
            _preset, seed=int(_seed), environment_id=_id, arguments=_arguments, out=Path(_out)
        )
    except RlEdgeError as error:
        sys.exit(f'error: {error}')
    print(_out)
