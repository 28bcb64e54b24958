"""What this package adds to the command ``rl_edge``."""

from rl_edge_core.command import Command

_RUN = 'rl_edge_compress.__main__:main'

COMMANDS = (
    Command(
        name='compress',
        group='shrink',
        help='make the compressed files of a policy, by recipes',
        run=_RUN,
        words=('compress',),
        example='models/ant_v5/best --recipes int8,float16 --out results/compress/best',
    ),
    Command(
        name='report',
        group='shrink',
        help='what the recipes in a folder cost and save',
        run=_RUN,
        words=('report',),
        example='results/compress/best --episodes 20',
    ),
    Command(
        name='import',
        group='learn',
        help='make an artifact of a policy from ONNX, Stable-Baselines3, rsl_rl or Keras',
        run=_RUN,
        words=('import',),
        example='ppo.zip --environment Ant-v5 --out models/mine',
    ),
)
