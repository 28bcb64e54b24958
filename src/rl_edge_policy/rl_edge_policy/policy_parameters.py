"""Parameters of the policy node."""

from dataclasses import dataclass

from rl_edge_core.ros.parameters import parameter
from rl_edge_policy.policy import AUTO, RUNTIME_CHOICES


@dataclass(frozen=True)
class PolicyParameters:
    """What the policy node is started with; some may be set again while it is unconfigured."""

    model: str = parameter('', 'Artifact folder, or a model file inside one.', may_change=True)
    recipe: str = parameter(
        '',
        "File of the artifact; '' for the compressed one that its manifest prefers.",
        may_change=True,
    )
    runtime: str = parameter(
        AUTO,
        'auto takes the first runtime of the file that is installed.',
        choices=RUNTIME_CHOICES,
        may_change=True,
    )
    threads: int = parameter(1, 'Threads of the runtime.', minimum=1, maximum=256, may_change=True)
    exploration: str = parameter(
        'none',
        'stochastic samples from the action distribution, for training (recipe keras alone).',
        choices=('none', 'stochastic'),
    )
    exploration_seed: int = parameter(
        0, 'Seed of the noise; robots that train together need one each.', minimum=0
    )
    tolerated_arguments: str = parameter(
        '',
        'Environment arguments that may differ from those the policy was made with, since they '
        'leave dynamics and observations alone, e.g. healthy_z_range, healthy_reward.',
        may_change=True,
    )
    autostart: bool = parameter(True, 'Configure and activate without being told to.')
    status_period_sec: float = parameter(
        1.0, 'Between two policy_status messages, in s.', minimum=0.01, maximum=3600.0
    )
