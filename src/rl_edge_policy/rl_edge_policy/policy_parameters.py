"""Parameters of the policy node."""

from dataclasses import dataclass

from rl_edge_core.ros.parameters import parameter
from rl_edge_policy.runtimes import AUTO, RUNTIME_CHOICES


@dataclass(frozen=True)
class PolicyParameters:
    """What the policy node is started with."""

    model: str = parameter('', 'Artifact folder, or a model file inside one.')
    recipe: str = parameter(
        '', "File of the artifact; '' for the compressed one that its manifest prefers."
    )
    runtime: str = parameter(
        AUTO,
        'auto takes the first runtime of the file that is installed.',
        choices=RUNTIME_CHOICES,
    )
    threads: int = parameter(1, 'Threads of the runtime.', minimum=1, maximum=256)
    exploration: str = parameter(
        'none',
        'stochastic samples from the action distribution, for training (recipe keras alone).',
        choices=('none', 'stochastic'),
    )
    exploration_seed: int = parameter(
        0, 'Seed of the noise; robots that train together need one each.', minimum=0
    )
    autostart: bool = parameter(True, 'Configure and activate without being told to.')
    status_period_sec: float = parameter(
        1.0, 'Between two policy_status messages, in s.', minimum=0.01, maximum=3600.0
    )
