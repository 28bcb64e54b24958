"""The state of NumPy's random generator as an array, which is stored without a pickle."""

import numpy as np

from rl_edge_core.errors import ConfigurationError

_MASK = 2**64 - 1


def generator_words(generator: np.random.Generator) -> np.ndarray:
    """Return the state of a PCG64 generator, NumPy's default one, as six 64-bit words.

    Raise ConfigurationError for another kind of generator.
    """
    state = generator.bit_generator.state
    if state['bit_generator'] != 'PCG64':
        raise ConfigurationError(f'random generator {state["bit_generator"]} is not PCG64')
    numbers = (state['state']['state'], state['state']['inc'])
    words = [word for number in numbers for word in (number >> 64, number & _MASK)]
    return np.array([*words, state['has_uint32'], state['uinteger']], np.uint64)


def set_generator_words(generator: np.random.Generator, words: np.ndarray) -> None:
    """Put a PCG64 generator into the state that `generator_words` returned."""
    values = [int(word) for word in words]
    generator.bit_generator.state = {
        'bit_generator': 'PCG64',
        'state': {'state': values[0] << 64 | values[1], 'inc': values[2] << 64 | values[3]},
        'has_uint32': values[4],
        'uinteger': values[5],
    }
