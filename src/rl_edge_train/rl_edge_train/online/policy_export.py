"""Write the policy of a learner as an artifact that policy nodes load."""

from __future__ import annotations

from pathlib import Path

from rl_edge_compress.export import export_artifact
from rl_edge_core.artifact import FULL_RECIPE
from rl_edge_core.environment_spec import EnvironmentSpec

from rl_edge_train.online.learner import OnlineLearner


def export_online_policy(
    learner: OnlineLearner, spec: EnvironmentSpec, *, algorithm: str, out: Path
) -> str:
    """Write the Keras actor-critic as artifact `out`, whole or not at all; return its hash.

    Compressed files are left to the end of training: a policy that explores is never compressed.
    """
    manifest = export_artifact(
        learner.agent.policy_model(),
        spec=spec,
        name=f'{spec.environment_id}/online_{algorithm}',
        out=out,
        algorithm=algorithm,
        training={'transitions': learner.transitions, 'updates': learner.updates},
        recipes=(),
    )
    return manifest.entry(FULL_RECIPE).sha256
