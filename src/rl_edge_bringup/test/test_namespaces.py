import pytest

from rl_edge_bringup.prepare import checked_namespace
from rl_edge_core.errors import ConfigurationError


@pytest.mark.parametrize(
    ('given', 'expected'), [('ant0', 'ant0'), ('/ant0', 'ant0'), ('fleet/ant_1', 'fleet/ant_1')]
)
def test_a_valid_namespace_loses_its_slash(given, expected):
    assert checked_namespace(given) == expected


@pytest.mark.parametrize('namespace', ['', '/', 'ant-0', '0ant', 'a//b', 'ant 0', 'ant0/', 'ä'])
def test_an_invalid_namespace_is_an_error_that_names_it(namespace):
    with pytest.raises(ConfigurationError, match='namespace is '):
        checked_namespace(namespace)
