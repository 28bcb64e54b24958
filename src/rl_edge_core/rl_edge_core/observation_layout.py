"""Observation parts as named slices, so that no code counts indices by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rl_edge_core.errors import ConfigurationError


@dataclass(frozen=True)
class ObservationLayout:
    """Find observation values by name. Names have the form ``part.component``."""

    names: tuple[str, ...]

    def index(self, name: str) -> int:
        """Return the index of one value; raise ConfigurationError for an unknown name."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ConfigurationError(
                f'no observation is named {name!r}; there are {", ".join(self.names)}'
            ) from None

    def slice_of(self, prefix: str) -> slice:
        """Return the slice of all values whose name starts with ``prefix.``.

        Raise ConfigurationError when there are none, or when they are not neighbours.
        """
        found = [i for i, name in enumerate(self.names) if name.startswith(prefix + '.')]
        if not found:
            parts = sorted({name.split('.')[0] for name in self.names})
            raise ConfigurationError(
                f'no observation part is named {prefix!r}; there are {", ".join(parts)}'
            )
        if found != list(range(found[0], found[-1] + 1)):
            raise ConfigurationError(f'the values of {prefix!r} are not neighbours: {found}')
        return slice(found[0], found[-1] + 1)

    def select(self, observation: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return the named values of ``observation``, shape (..., observation_size)."""
        return observation[..., [self.index(name) for name in names]]
