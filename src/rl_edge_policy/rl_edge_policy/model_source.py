"""Load the policy that a swap asks for: by path, or from the bytes of a packed artifact."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rl_edge_core.artifact import FULL_RECIPE, Manifest, load_manifest, unpack_artifact
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError, SpecMismatchError
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy


@dataclass(frozen=True)
class ModelRequest:
    """What a caller of ``load_model`` gave."""

    path: str = ''
    archive: bytes = b''
    sha256: str = ''
    recipe: str = ''


def load_requested(
    request: ModelRequest, *, present_recipe: str, runtime: str, threads: int
) -> Policy:
    """Load what ``request`` asks for; raise an RlEdgeError that says why it is refused.

    Without a recipe it is the file of ``present_recipe``, or the artifact's preferred compressed
    file when it has none of that recipe: a compressed policy is never replaced by the full model
    unasked. Nothing is left on the disk.
    """
    if bool(request.path) == bool(request.archive):
        raise ConfigurationError('give either path or archive, and not both')
    if request.path:
        path = Path(request.path)
        recipe = request.recipe
        if path.is_dir():
            recipe = recipe or _recipe_in(load_manifest(path), present_recipe)
        return load_policy(path, recipe=recipe, runtime=runtime, threads=threads)
    with tempfile.TemporaryDirectory(prefix='rl_edge_policy-') as temporary:
        folder = Path(temporary) / 'artifact'
        manifest = unpack_artifact(request.archive, request.sha256, folder)
        recipe = request.recipe or _recipe_in(manifest, present_recipe)
        return load_policy(folder, recipe=recipe, runtime=runtime, threads=threads)


def _recipe_in(manifest: Manifest, present: str) -> str:
    if present in manifest.recipes or present == FULL_RECIPE:
        return manifest.entry(present).recipe
    return manifest.compressed_recipe()


def check_environment(policy: Policy, environment: EnvironmentSpec) -> None:
    """Raise SpecMismatchError that names what differs when the policy is for another one."""
    if policy.spec.hash == environment.hash:
        return
    differences = '; '.join(policy.spec.differences(environment))
    raise SpecMismatchError(
        f'{policy.model_id} was made for another environment (policy against simulator): '
        f'{differences}'
    )
