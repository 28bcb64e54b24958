"""What this package adds to the command ``rl_edge``."""

from rl_edge_core.command import Command


def _command(name: str, text: str, example: str = '', *, group: str = 'learn') -> Command:
    run = 'rl_edge_train.__main__:main'
    return Command(name, group, text, run, example, words=(name.replace('_', '-'),))


COMMANDS = (
    _command(
        'train',
        'train a policy without ROS, on this machine or a cluster',
        '--preset sac --out runs/sac --seed 1',
    ),
    _command(
        'sweep',
        'train with several seeds and settings, side by side',
        '--preset sac_small --seeds 1,2,3 --out runs/seeds',
    ),
    _command(
        'evaluate',
        'play episodes that training never saw',
        'models/ant_v5/best --recipe int8 --episodes 20',
    ),
    _command('export', 'write the policy of a run as an artifact', 'runs/sac --out models/mine'),
    _command('bench_cluster', 'what training on a Ray cluster costs and gives', group='prove'),
)
