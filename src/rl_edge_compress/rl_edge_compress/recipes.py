"""The table of recipes by name. Free of TensorFlow, so that a wrong name is told at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rl_edge_core.errors import ConfigurationError, did_you_mean

FULL = 'full'
"""The actor as it was trained."""
TUNED4 = 'tuned4'
"""The actor re-trained by weights in 4 bits. In 8 bits this gained nothing over GPTQ."""
SPARSITIES = (50, 80, 90, 95)
WIDTHS = (128, 92, 64, 32, 26)
"""92: the widest whose 8-bit file stays below 16 kB where a policy sees 27 values; 26: that stays
below 4 kB of flash as C on a Cortex-M4, code included."""


@dataclass(frozen=True)
class Recipe:
    """A way to compress a policy: which actor, in which numeric format."""

    name: str
    description: str
    actor: str
    """The actor it writes, a key of `compress.ACTORS`: recipes that share one train it once."""
    numeric_format: str
    """A key of `formats.FORMATS`."""


def _table() -> Iterable[Recipe]:
    yield Recipe('float32', 'baseline', FULL, 'float32')
    yield Recipe('float16', 'weights in 16-bit floats', FULL, 'float16')
    yield Recipe('dynamic', '8-bit weights, activations quantized as they come', FULL, 'dynamic')
    yield Recipe('int8', 'dense layers in 8-bit integers, calibrated', FULL, 'int8')
    yield Recipe('int4', '4-bit weights', FULL, 'int4')
    yield Recipe('tuned_int4', '4-bit weights, re-trained', TUNED4, 'int4')
    for percent in SPARSITIES:
        text = f'{percent} % of the weights zero, re-trained'
        yield Recipe(f'pruned{percent}', text, f'pruned{percent}', 'float32')
        yield Recipe(f'pruned{percent}_int8', f'{text}, 8-bit', f'pruned{percent}', 'int8')
    for width in WIDTHS:
        text = f'student {width} neurons wide, distilled'
        yield Recipe(f'student{width}', text, f'student{width}', 'float32')
        yield Recipe(f'student{width}_int8', f'{text}, 8-bit', f'student{width}', 'int8')


RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _table()}
ALL = 'all'


def chosen_recipes(names: str) -> list[Recipe]:
    """Return the recipes of a comma-separated list, or all.

    Raise ConfigurationError for an unknown one, listing the table.
    """
    if names == ALL:
        return list(RECIPES.values())
    wanted = [name.strip() for name in names.split(',') if name.strip()]
    unknown = [name for name in wanted if name not in RECIPES]
    if unknown or not wanted:
        hints = ''.join(did_you_mean(name, RECIPES) for name in unknown)
        lines = '\n'.join(f'  {r.name:16} {r.description}' for r in RECIPES.values())
        raise ConfigurationError(
            f'no recipe {", ".join(unknown) or names!r}{hints}; give some of these, '
            f'or {ALL}:\n{lines}'
        )
    return [RECIPES[name] for name in wanted]
