import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.generator_state import generator_words, set_generator_words


def test_a_generator_goes_on_from_its_words():
    generator, other = np.random.default_rng(1), np.random.default_rng(2)
    generator.integers(2**32, dtype=np.uint32)  # leaves half a word behind
    words = generator_words(generator)
    assert (words.dtype, words.shape) == (np.uint64, (6,))

    set_generator_words(other, words)

    assert other.bit_generator.state == generator.bit_generator.state
    np.testing.assert_array_equal(other.normal(size=10), generator.normal(size=10))


def test_another_kind_of_generator_is_refused():
    with pytest.raises(ConfigurationError, match='MT19937 is not PCG64'):
        generator_words(np.random.Generator(np.random.MT19937(0)))
