"""What this package adds to the command ``rl_edge``."""

from rl_edge_core.command import Command

_RUN = 'rl_edge_train.command_line:main'

COMMANDS = (
    Command(
        name='train',
        group='learn',
        help='train a policy without ROS, on this machine or a cluster',
        run=_RUN,
        words=('train',),
        example='--preset sac --out runs/sac --seed 1',
    ),
    Command(
        name='sweep',
        group='learn',
        help='train with several seeds and settings, side by side',
        run=_RUN,
        words=('sweep',),
        example='--preset sac_small --seeds 1,2,3 --out runs/seeds',
    ),
    Command(
        name='evaluate',
        group='learn',
        help='play episodes that training never saw',
        run=_RUN,
        words=('evaluate',),
        example='models/ant_v5/best --recipe int8 --episodes 20',
    ),
    Command(
        name='export',
        group='learn',
        help='write the policy of a run as an artifact',
        run=_RUN,
        words=('export',),
        example='runs/sac --out models/mine',
    ),
    Command(
        name='bench_cluster',
        group='prove',
        help='what training on a Ray cluster costs and gives',
        run=_RUN,
        words=('bench-cluster',),
        example='',
    ),
)
