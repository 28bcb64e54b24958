"""The whole configuration of a training run, and the presets that ship."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from rl_edge_core.configuration import from_mapping, read_yaml
from rl_edge_core.errors import ConfigurationError, did_you_mean
from rl_edge_train.environments import EnvironmentConfig
from rl_edge_train.selection import SelectionConfig


@dataclass(frozen=True)
class RunConfig:
    """What to train, where and for how long."""

    algorithm: str
    """One of the algorithms' names."""
    total_steps: int
    """Environment steps of the whole run."""
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    """Where to train."""
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    """How the best policy is found."""
    simulation_processes: int = 1
    """Worker processes that share the environments."""
    learner_threads: int = 1
    """Threads of a gradient step. More pay off with large batches and cores that simulation leaves
    idle; what is computed stays the same, bit for bit."""
    checkpoint_period_sec: float = 300.0
    """Wall-clock time between checkpoints."""
    log_every_steps: int = 10_000
    """Steps between rows of metrics.csv."""
    loop: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the loop's configuration."""
    agent: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the algorithm's configuration."""

    def __post_init__(self) -> None:
        """Refuse numbers of steps that nothing can be done with."""
        for name, value in (
            ('total_steps', self.total_steps),
            ('log_every_steps', self.log_every_steps),
            ('simulation_processes', self.simulation_processes),
            ('selection.every_steps', self.selection.every_steps),
            ('selection.episodes', self.selection.episodes),
        ):
            if value < 1:
                raise ConfigurationError(f'{name} is {value}, must be 1 or more')


def preset_names() -> list[str]:
    """Return the presets that ship with the package."""
    folder = resources.files('rl_edge_train') / 'presets'
    return sorted(Path(str(f)).stem for f in folder.iterdir() if str(f).endswith('.yaml'))


def preset_descriptions() -> dict[str, str]:
    """Return what each preset is, the first sentence of the comment that its file begins with."""
    descriptions = {}
    for name in preset_names():
        text = (resources.files('rl_edge_train') / 'presets' / f'{name}.yaml').read_text()
        comment = itertools.takewhile(lambda line: line.startswith('#'), text.splitlines())
        sentence = ' '.join(line.lstrip('# ') for line in comment)
        descriptions[name] = re.split(r'[.:;](?: |$)', sentence)[0]
    return descriptions


def load_preset(preset: str) -> RunConfig:
    """Read a preset by name, or a YAML file by path."""
    if preset.endswith(('.yaml', '.yml')):
        return from_mapping(RunConfig, read_yaml(Path(preset)))
    if preset not in preset_names():
        raise ConfigurationError(
            f'unknown preset {preset!r}{did_you_mean(preset, preset_names())}; valid are '
            f'{", ".join(preset_names())}, or a .yaml file'
        )
    path = resources.files('rl_edge_train') / 'presets' / f'{preset}.yaml'
    return from_mapping(RunConfig, read_yaml(Path(str(path))))
