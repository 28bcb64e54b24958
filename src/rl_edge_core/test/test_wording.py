"""Numbers in sentences."""

import pytest

from rl_edge_core.wording import counted


@pytest.mark.parametrize(
    ('number', 'text'), [(0, '0 steps'), (1, '1 step'), (2, '2 steps'), (1000, '1,000 steps')]
)
def test_one_is_no_plural(number, text):
    assert counted(number, 'step') == text
