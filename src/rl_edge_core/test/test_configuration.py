from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml

from rl_edge_core import configuration
from rl_edge_core.errors import ConfigurationError


@dataclass(frozen=True)
class Inner:
    depth: int = 3


@dataclass(frozen=True)
class Example:
    rate: float
    sizes: tuple[int, ...] = (1,)
    mode: Literal['fast', 'exact'] = 'fast'
    limit: int | None = None
    folder: Path = Path('.')
    inner: Inner = Inner()
    loud: bool = False


def test_fills_every_kind_of_field():
    config = configuration.from_mapping(
        Example,
        {
            'rate': 2,
            'sizes': [3, 4],
            'mode': 'exact',
            'limit': None,
            'folder': 'a/b',
            'inner': {'depth': 7},
            'loud': True,
        },
    )
    assert config == Example(2.0, (3, 4), 'exact', None, Path('a/b'), Inner(7), True)
    assert isinstance(config.rate, float)


def test_yaml_is_the_inverse(tmp_path):
    config = Example(0.5, (1, 2), 'exact', 4, Path('x'), Inner(1), True)
    assert (
        configuration.from_mapping(Example, yaml.safe_load(configuration.to_yaml(config)))
        == config
    )
    path = tmp_path / 'example.yaml'
    path.write_text(configuration.to_yaml(config))
    assert configuration.load(Example, path) == config


@pytest.mark.parametrize(
    ('mapping', 'message'),
    [
        (
            {'rate': 1.0, 'rat': 2},
            r'Example: unknown rat \(did you mean rate\?\); valid are rate, sizes, mode',
        ),
        ({}, 'Example: lacks rate'),
        ({'rate': 'much'}, "rate is 'much', must be of type float"),
        ({'rate': True}, 'rate is True, must be of type float'),
        ({'rate': 1.0, 'limit': 1.5}, 'limit is 1.5, must be of type int'),
        ({'rate': 1.0, 'sizes': [1, 'x']}, r"sizes\[1\] is 'x', must be of type int"),
        ({'rate': 1.0, 'sizes': 3}, 'sizes is 3, must be of type tuple'),
        ({'rate': 1.0, 'mode': 'slow'}, "mode is 'slow', must be one of fast, exact"),
        ({'rate': 1.0, 'inner': {'deep': 1}}, 'Inner: unknown deep .*; valid are depth'),
        ({'rate': 1.0, 'loud': 1}, 'loud is 1, must be of type bool'),
    ],
)
def test_names_what_is_wrong(mapping, message):
    with pytest.raises(ConfigurationError, match=message):
        configuration.from_mapping(Example, mapping)


@pytest.mark.parametrize('content', ['- 1\n- 2\n', 'a: [1', '', '\x00'])
def test_refuses_files_that_hold_no_mapping(tmp_path, content):
    path = tmp_path / 'broken.yaml'
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r'broken\.yaml'):
        configuration.read_yaml(path)


def test_names_a_missing_file(tmp_path):
    with pytest.raises(ConfigurationError, match=r'none\.yaml cannot be read: No such file'):
        configuration.read_yaml(tmp_path / 'none.yaml')
