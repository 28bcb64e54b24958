"""The command that compresses a policy: arguments, progress bar, summary."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from rl_edge_compress.compress import KEPT, compress
from rl_edge_compress.imitation import ImitationConfig
from rl_edge_compress.progress import Progress
from rl_edge_compress.recipes import Recipe, chosen_recipes
from rl_edge_compress.session import CompressionSession
from rl_edge_core.artifact import load_manifest
from rl_edge_core.configuration import from_mapping
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import hold_folder


def run(options: argparse.Namespace) -> int:
    """Compress; print a line per recipe; return 1 when one failed."""
    recipes = chosen_recipes(options.recipes)
    config = from_mapping(ImitationConfig, _settings(options.set))
    hold_folder(options.out)
    with Progress(len(recipes), 'recipe') as progress:
        shown: list[str] = []

        def start(recipe: Recipe) -> None:
            progress.update(len(shown) - progress.done)
            shown.append(recipe.name)
            progress.show(what=recipe.name)

        session = CompressionSession(
            model=options.model,
            kept=options.out / KEPT,
            config=config,
            say=lambda line: progress.show(detail=line),
            observations=_observations(options.calibration),
            cluster=options.cluster,
        )
        outcomes = compress(session, recipes, options.out, on_recipe=start)
        progress.update(len(recipes) - progress.done)
    print(f'{"recipe":16} {"":8} {"bytes":>9} {"action error":>13}')
    for outcome in outcomes:
        found = outcome.reason
        if outcome.state != 'failed':
            found = f'{outcome.bytes:>9,} {outcome.action_error:>13.2%}  {outcome.note}'.rstrip()
        print(f'{outcome.recipe:16} {outcome.state:8} {found}')
    print('action error: RMS against the float32 actor, as a share of half the action range')
    failed = [outcome.recipe for outcome in outcomes if outcome.state == 'failed']
    if failed:
        print(f'{len(failed)} of {len(recipes)} recipes failed: {", ".join(failed)}')
    if len(failed) < len(recipes):
        print(f'compressed uses {load_manifest(options.out).compressed_recipe()}')
    return 1 if failed else 0


def _settings(pairs: Sequence[str]) -> dict[str, object]:
    settings = {}
    for pair in pairs:
        key, separator, value = pair.partition('=')
        if not separator:
            raise ConfigurationError(f'--set takes KEY=VALUE, got {pair!r}')
        settings[key] = yaml.safe_load(value)
    return settings


def _observations(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f'{path} holds no observations: {error}') from error
