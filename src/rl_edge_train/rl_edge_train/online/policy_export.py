"""Write the policy of a learner as an artifact that policy nodes load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rl_edge_core.artifact import FULL_RECIPE, pack_artifact
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train.online.learner import OnlineLearner
from rl_edge_train.run_config import RunConfig


@dataclass(frozen=True)
class ExportedPolicy:
    """A policy ready to be sent."""

    model_hash: str
    """SHA-256 (hex) of the Keras file."""
    archive: bytes
    """The packed artifact, as load_model takes it."""


def export_online_policy(
    learner: OnlineLearner, spec: EnvironmentSpec, *, run: RunConfig, out: Path
) -> ExportedPolicy:
    """Write the Keras actor-critic as artifact `out`, whole or not at all, and pack it.

    Compressed files are left to the end of training: a policy that explores is never compressed.
    """
    # Imported late: TensorFlow comes with them.
    from rl_edge_compress.export import export_artifact
    from rl_edge_train.policy_network import network_of

    model = learner.agent.policy_model()
    manifest = export_artifact(
        model,
        spec=spec,
        name=f'{spec.environment_id}/online_{run.algorithm}',
        out=out,
        algorithm=run.algorithm,
        training={'transitions': learner.transitions, 'updates': learner.updates},
        network=network_of(model, run, spec),
        recipes=(),
    )
    return ExportedPolicy(manifest.entry(FULL_RECIPE).sha256, pack_artifact(out, [FULL_RECIPE]))
