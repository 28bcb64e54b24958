"""The parameters of the policy node. Imports nothing heavy: launch files and help read them."""

from dataclasses import dataclass

from rl_edge_core.parameters import parameter

AUTO = 'auto'
"""Take the first runtime of the file's list that is installed."""
RUNTIME_NAMES = ('keras', 'litert', 'tflite_runtime')
RUNTIME_CHOICES = (AUTO, *RUNTIME_NAMES)


@dataclass(frozen=True)
class PolicyParameters:
    """What the policy node is told; some may be set again while it is unconfigured."""

    model: str = parameter('', 'Artifact folder, or a model file inside one.', may_change=True)
    recipe: str = parameter(
        '',
        'File of the artifact, e.g. int8; empty for the compressed one its manifest prefers.',
        may_change=True,
    )
    runtime: str = parameter(
        AUTO,
        'What loads the model; auto takes the first of the file that is installed.',
        choices=RUNTIME_CHOICES,
        may_change=True,
    )
    threads: int = parameter(
        1, 'Threads that compute an action.', minimum=1, maximum=256, may_change=True
    )
    exploration: str = parameter(
        'none',
        'Act as the policy is, or sample from its distribution to train (recipe keras alone).',
        choices=('none', 'stochastic'),
    )
    exploration_seed: int = parameter(
        0, 'Seed of what is sampled; robots that train together need one each.', minimum=0
    )
    tolerated_arguments: str = parameter(
        '',
        'Environment arguments that may differ from those the policy was made with, since they '
        'leave dynamics and observations alone, e.g. healthy_z_range, healthy_reward.',
        may_change=True,
    )
    load_model: str = parameter(
        'path',
        'What the service ~/load_model takes: nothing (there is no such service), paths of this '
        'computer, or packed archives too.',
        choices=('off', 'path', 'archive'),
    )
    trusted_models: str = parameter(
        '',
        'SHA-256 of the model files that may be loaded, separated by commas; empty for any.',
        may_change=True,
    )
    trusted_key: str = parameter(
        '',
        'File of an Ed25519 public key that must have signed a model; empty for none.',
        may_change=True,
    )
    autostart: bool = parameter(True, 'Configure and activate without being told to.')
    status_period_sec: float = parameter(
        1.0, 'Between two policy_status messages.', unit='s', minimum=0.01, maximum=3600.0
    )

    def check(self) -> None:
        """Raise what the node would raise for trusted models and key, before it is started."""
        if self.trusted_models or self.trusted_key:
            from rl_edge_policy.trust import read_trust  # loads more than a launch file needs

            read_trust(self.trusted_models, self.trusted_key)


def main() -> int:
    """Run the policy node until it is told to end; return the exit code."""
    from rl_edge_core.ros.node_main import run_node_process  # launch files need no more than above

    return run_node_process('rl_edge_policy.policy_node:make_policy_node', PolicyParameters)
