"""The runtimes that load model files. Each is imported when a policy asks for it, not before."""

import importlib.util
import os
import sys
from dataclasses import dataclass

from rl_edge_core.artifact import ModelFile
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_policy.policy_parameters import AUTO, RUNTIME_CHOICES


@dataclass(frozen=True)
class Runtime:
    """One way to run a model file."""

    name: str
    package: str
    """Python package that must be importable."""
    install: str
    """What installs it."""
    runs_files_unchecked: bool
    """Whether a damaged file can crash or hang it: it does not verify what it loads."""
    incompatible_module: str = ''
    """Package that exports the same C++ symbols: the second one in a process crashes it."""

    @property
    def has_conflict(self) -> bool:
        """Return whether `incompatible_module` is imported in this process."""
        return self.incompatible_module in sys.modules

    @property
    def is_installed(self) -> bool:
        """Return whether its package is there, without importing it."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def remedy(self) -> str:
        """Return what to do where it is not installed."""
        if self.name == 'keras' and os.environ.get('RL_EDGE_INSTALLED'):
            return 'this edge installation runs .tflite files only: use configuration:=compressed'
        return f'pip install {self.install}'


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            'keras', 'tensorflow', 'tensorflow keras', False, incompatible_module='tflite_runtime'
        ),
        Runtime('litert', 'ai_edge_litert', 'ai-edge-litert', True),
        Runtime(
            'tflite_runtime',
            'tflite_runtime',
            "tflite-runtime 'numpy<2'",
            True,
            incompatible_module='tensorflow',
        ),
    )
}


def choose_runtime(entry: ModelFile, wanted: str) -> Runtime:
    """Return the runtime for a model file: the wanted one, or for ``auto`` the first installed.

    Raise ConfigurationError for an unknown runtime, one that can't load the file, and one that is
    not installed, with the remedy.
    """
    if wanted not in RUNTIME_CHOICES:
        raise ConfigurationError(
            f'runtime is {wanted!r}, must be one of {", ".join(RUNTIME_CHOICES)}'
        )
    candidates = [RUNTIMES[name] for name in entry.runtimes if name in RUNTIMES]
    if not candidates:
        raise ArtifactError(
            f'{entry.file} is for the runtimes {", ".join(entry.runtimes) or "(none)"}, this '
            f'version has {", ".join(RUNTIMES)}: export the policy again'
        )
    if wanted != AUTO:
        return _wanted(entry, candidates, wanted)
    for runtime in candidates:
        if runtime.is_installed and not runtime.has_conflict:
            return runtime
    remedies = ', or '.join(runtime.remedy for runtime in candidates)
    names = ', '.join(runtime.name for runtime in candidates)
    raise ConfigurationError(
        f'no runtime for {entry.file} (recipe {entry.recipe}) can be used here; it needs one of '
        f'{names}: {remedies}'
    )


def _wanted(entry: ModelFile, candidates: list[Runtime], wanted: str) -> Runtime:
    runtime = RUNTIMES[wanted]
    if runtime not in candidates:
        reason = entry.unsupported.get(wanted, 'the file is not of its kind')
        raise ConfigurationError(
            f'runtime {wanted} cannot load {entry.file}: {reason}; choose one of '
            f'{", ".join(candidate.name for candidate in candidates)}, or another recipe'
        )
    if not runtime.is_installed:
        raise ConfigurationError(f'runtime {wanted} is not installed: {runtime.remedy}')
    if runtime.has_conflict:
        raise ConfigurationError(
            f'runtime {wanted} cannot run in a process that has imported '
            f'{runtime.incompatible_module}: start a process of its own for it'
        )
    return runtime
