"""What this package adds to the command ``rl_edge``."""

from rl_edge_core.command import Command


def _command(name: str, text: str, example: str, *, group: str = 'shrink') -> Command:
    return Command(name, group, text, 'rl_edge_compress.__main__:main', example, words=(name,))


COMMANDS = (
    _command(
        'compress',
        'make the compressed files of a policy, by recipes',
        'models/ant_v5/best --recipes int8,float16 --out results/compress/best',
    ),
    _command(
        'report',
        'what the recipes in a folder cost and save',
        'results/compress/best --episodes 20',
    ),
    _command(
        'import',
        'make an artifact of a policy from ONNX, Stable-Baselines3, rsl_rl or Keras',
        'ppo.zip --environment Ant-v5 --out models/mine',
        group='learn',
    ),
)
