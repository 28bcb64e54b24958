"""Load a policy artifact: hash, shapes and golden pair are checked before it acts."""

import contextlib
import importlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.artifact import FULL_RECIPE, Manifest, ModelFile, checked_file, load_manifest
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError, ConfigurationError, RlEdgeError, SpecMismatchError
from rl_edge_core.model_files import named_model, shipped_models_hint
from rl_edge_core.tensorflow_setup import importing
from rl_edge_policy.policy import Policy, RejectedActionError
from rl_edge_policy.policy_parameters import AUTO
from rl_edge_policy.runtimes import Runtime, choose_runtime
from rl_edge_policy.trust import ANY_MODEL, Trust

TRIAL_LIMIT_SEC = 60.0
"""After which a model that is tried counts as hanging; a Raspberry Pi needs two for a good one."""
TRIAL_MEMORY_BYTES = 1 << 30
_REFUSED = 3
"""Exit code of the trial of a model that is refused for a reason."""


def load_policy(
    path: str | Path,
    *,
    recipe: str | None = None,
    runtime: str = AUTO,
    threads: int = 1,
    trust: Trust = ANY_MODEL,
) -> Policy:
    """Load the policy at ``path``: an artifact folder, a model file in one, or a shipped name.

    For a folder, ``recipe`` picks the file; without one it is the compressed file that the
    manifest prefers. ``runtime`` is ``auto`` (the first of the file's runtimes that is installed),
    ``keras``, ``litert`` or ``tflite_runtime``. No runtime sees a file that ``trust`` refuses.

    Raise ArtifactError for what is missing, damaged, not trusted or not what its manifest says,
    and ConfigurationError for a recipe, runtime or number of threads that is not valid.
    """
    path = named_model(path)
    if threads < 1:
        raise ConfigurationError(f'threads is {threads}, must be 1 or more')
    folder, manifest, entry = find_model(path, recipe)
    trust.check(manifest, entry)
    chosen = choose_runtime(entry, runtime)
    model_path = checked_file(folder, entry)
    policy: Policy = _import(chosen)(model_path, manifest, entry, threads=threads)
    _check_golden_pair(policy, manifest, entry)
    return policy


def find_model(path: Path, recipe: str | None) -> tuple[Path, Manifest, ModelFile]:
    """Return the artifact's folder, its manifest and the entry of the file that is meant."""
    if path.is_dir():
        manifest = load_manifest(path)
        return path, manifest, manifest.entry(recipe or manifest.compressed_recipe())
    if not path.is_file():
        raise ArtifactError(
            f'no policy at {path}: give an artifact folder or a model file inside one'
            f'{shipped_models_hint(str(path))}'
        )
    manifest = load_manifest(path.parent)
    entry = manifest.entry_of_file(path.name)
    if recipe:
        raise ConfigurationError(
            f'recipe {recipe!r} and the model file {path} exclude each other: leave the recipe '
            f'out, or give the folder {path.parent}'
        )
    return path.parent, manifest, entry


def _import(runtime: Runtime) -> Callable[..., Policy]:
    """Return what makes a policy of a model file, its manifest, its entry, and ``threads``."""
    try:
        with importing():
            if runtime.name == 'keras':
                from rl_edge_policy.runtimes.keras import KerasPolicy

                return KerasPolicy
            from rl_edge_policy.runtimes.interpreter import InterpreterPolicy

            found = importlib.import_module(f'{runtime.package}.interpreter').Interpreter
            return partial(InterpreterPolicy, runtime=runtime.name, interpreter_type=found)
    except (ImportError, AttributeError) as error:
        # AttributeError: what a build against another NumPy raises.
        raise ConfigurationError(
            f'runtime {runtime.name} is installed but cannot be imported ({error}): '
            f'{runtime.remedy}, or choose another runtime'
        ) from error


def _check_golden_pair(policy: Policy, manifest: Manifest, entry: ModelFile) -> None:
    try:
        tolerance = entry.golden_tolerance[policy.runtime]
    except KeyError:
        raise ArtifactError(
            f'{policy.model_id}: the manifest has no golden tolerance for runtime '
            f'{policy.runtime}; it has {", ".join(entry.golden_tolerance)}: export it again'
        ) from None
    try:
        action = policy.act(np.asarray(manifest.golden_observation, np.float32))
    except RejectedActionError as error:
        raise ArtifactError(
            f'{policy.model_id} fails on its golden observation: {error}'
        ) from error
    difference = np.abs(action - np.asarray(entry.golden_action, np.float32))
    worst = int(np.argmax(difference))
    if not difference[worst] <= tolerance:
        raise ArtifactError(
            f'{policy.model_id} on {policy.runtime}: {manifest.environment.action_names[worst]} '
            f'of its golden action is {action[worst]:.6g}, its manifest says '
            f'{entry.golden_action[worst]:.6g} within {tolerance:g}: the model or the runtime '
            f'differs from the one it was exported with; export it again'
        )


def load_requested(
    *,
    path: str = '',
    archive: bytes = b'',
    sha256: str = '',
    recipe: str = '',
    present_recipe: str,
    runtime: str,
    threads: int,
    archives_allowed: bool = True,
    trust: Trust = ANY_MODEL,
) -> Policy:
    """Load what a swap asks for, an artifact's ``path`` or a packed ``archive`` with its hash.

    An archive is unpacked, and a file handed to a runtime, only if ``trust`` takes it.
    Without a recipe it is the file of ``present_recipe``, or the artifact's preferred compressed
    file when it has none of that recipe: a compressed policy is never replaced by the full model
    unasked. Nothing is left on the disk. A `.tflite` file is first run in a process of its own:
    one that crashes or hangs its runtime must not end the process that acts. Raise an RlEdgeError
    that says why the model is refused.
    """
    if bool(path) == bool(archive):
        raise ConfigurationError('give either path or archive, and not both')
    if archive and not archives_allowed:
        raise ConfigurationError(
            'archives are not accepted: copy the artifact to this computer and give its path, or '
            'start the node with load_model:=archive'
        )

    def wanted_recipe(manifest: Manifest) -> str:
        if recipe:
            return recipe
        keeps = present_recipe in manifest.recipes or present_recipe == FULL_RECIPE
        return present_recipe if keeps else manifest.compressed_recipe()

    with tempfile.TemporaryDirectory(prefix='rl_edge_policy-') as temporary:
        folder = named_model(path)
        if archive:
            from rl_edge_core.archive import unpack_artifact  # loads what other nodes don't need

            folder = Path(temporary) / 'artifact'
            manifest = unpack_artifact(
                archive,
                sha256,
                folder,
                check=lambda packed: trust.check(packed, packed.entry(wanted_recipe(packed))),
            )
            recipe = wanted_recipe(manifest)
        elif folder.is_dir():
            recipe = wanted_recipe(load_manifest(folder))
        _, manifest, entry = find_model(folder, recipe)
        trust.check(manifest, entry)
        if choose_runtime(entry, runtime).runs_files_unchecked:
            checked_file(folder if folder.is_dir() else folder.parent, entry)
            _try_in_own_process(folder, recipe=recipe, runtime=runtime, threads=threads)
        return load_policy(folder, recipe=recipe, runtime=runtime, threads=threads, trust=trust)


def check_environment(
    policy: Policy, environment: EnvironmentSpec, *, tolerated_arguments: Collection[str] = ()
) -> None:
    """Raise SpecMismatchError that names what differs when the policy is for another one.

    Arguments of the environment that are declared to leave its dynamics and observations alone,
    ``tolerated_arguments``, may differ.
    """
    if policy.spec.hash == environment.hash:
        return
    made_for = policy.spec.without_arguments(tolerated_arguments)
    differences = made_for.differences(environment.without_arguments(tolerated_arguments))
    mine, theirs = policy.spec.environment_id, environment.environment_id
    if mine != theirs:  # then all the rest differs too
        raise SpecMismatchError(
            f'{policy.model_id} was made for {mine}, and the simulator runs {theirs}: give the '
            f'simulator environment_id:={mine}, or the policy a model of {theirs}'
        )
    if differences:
        raise SpecMismatchError(
            f'{policy.model_id} was made for another environment (policy against simulator): '
            f'{"; ".join(differences)}'
        )


def _try_in_own_process(folder: Path, *, recipe: str, runtime: str, threads: int) -> None:
    """Raise ArtifactError unless a process of its own can load a model and act by it."""
    request = {'path': str(folder), 'recipe': recipe, 'runtime': runtime, 'threads': threads}
    command = [sys.executable, '-m', 'rl_edge_policy.load', json.dumps(request)]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, timeout=TRIAL_LIMIT_SEC, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f'it did not answer within {TRIAL_LIMIT_SEC:.0f} s'
    except OSError as error:
        raise RlEdgeError(f'no process to try the model in: {error}') from error
    else:
        if tried.returncode == 0:
            return
        if tried.returncode == _REFUSED:
            raise ArtifactError(tried.stderr.strip())
        code = tried.returncode
        ending = signal.Signals(-code).name if code < 0 else f'exit code {code}'
        reason = f'it ended its process with {ending}'
    raise ArtifactError(
        f'{folder} was tried in a process of its own, and {reason}: the model file is damaged, or '
        f'{runtime} cannot run it; export it again'
    )


def _try_model(request: Mapping[str, Any]) -> None:
    """Load a model and act on its golden observation and on random ones of several sizes."""
    import resource

    # A damaged file may ask for any amount of memory; the acting process must keep its own.
    limits = (TRIAL_MEMORY_BYTES, TRIAL_MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    policy = load_policy(
        request['path'],
        recipe=request['recipe'] or None,
        runtime=request['runtime'],
        threads=request['threads'],
    )
    generator = np.random.default_rng(0)
    for size in (0.0, 0.1, 1.0, 10.0, 1e3):
        observation = size * generator.normal(size=policy.spec.observation_size)
        with contextlib.suppress(RejectedActionError):
            policy.act(observation.astype(np.float32))


if __name__ == '__main__':
    try:
        _try_model(json.loads(sys.argv[1]))
    except (RlEdgeError, MemoryError) as error:
        print(str(error) or 'no memory to load it', file=sys.stderr)
        sys.exit(_REFUSED)
