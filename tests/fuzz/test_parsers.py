"""What people write: command lines, YAML, JSON, names."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_edge_bringup.prepare import checked_namespace
from rl_edge_bringup.systems import SYSTEMS
from rl_edge_core.artifact import Manifest, load_manifest, manifest_from_mapping
from rl_edge_core.configuration import from_mapping, read_yaml
from rl_edge_core.environment_spec import EnvironmentSpec, environment_arguments
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.parameters import parse_arguments, parse_pairs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
ARGUMENTS = {argument.name: argument for system in SYSTEMS for argument in system.arguments}


def refusing():
    """Let pass what is refused with a reason; any other exception fails the test."""
    return contextlib.suppress(RlEdgeError)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_command_line_words(words):
    with refusing():
        parse_arguments(tuple(ARGUMENTS.values()), parse_pairs(words))


@given(st.sampled_from(sorted(ARGUMENTS)), st.text(max_size=20))
def test_values_of_arguments(name, text):
    with refusing():
        value = ARGUMENTS[name].parse(text)
        assert type(value) is type(ARGUMENTS[name].default)


@given(st.text(max_size=30))
def test_namespaces_are_valid_names_or_refused(text):
    with refusing():
        bare = checked_namespace(text)
        assert bare
        assert not bare.startswith('/')
        assert all(c.isascii() and (c.isalnum() or c in '_/') for c in bare)


@pytest.mark.parametrize('namespace', ['', '/', '0ant', 'ant-0', 'ant 0', 'ant//0', 'änt', 'a/0'])
def test_illegal_namespaces_are_named(namespace):
    with pytest.raises(ConfigurationError, match='namespace is'):
        checked_namespace(namespace)


@given(st.text(max_size=40))
def test_environment_arguments(text):
    with refusing():
        assert isinstance(environment_arguments(text), dict)


@given(st.binary(max_size=200))
def test_yaml_files(tmp_path_factory, content):
    path = tmp_path_factory.mktemp('yaml') / 'file.yaml'
    path.write_bytes(content)
    with refusing():
        assert isinstance(read_yaml(path), dict)


@given(JSON)
def test_manifests_of_any_json(content):
    with refusing():
        assert isinstance(manifest_from_mapping(content), Manifest)


@given(st.binary(max_size=200) | JSON.map(lambda content: json.dumps(content).encode()))
def test_manifest_files(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp('artifact')
    (folder / 'manifest.json').write_bytes(content)
    with refusing():
        load_manifest(folder)


FIELDS = st.fixed_dictionaries(
    {
        'environment_id': JSON,
        'observation_names': JSON,
        'observation_units': JSON,
        'action_names': JSON,
        'action_units': JSON,
        'action_low': JSON,
        'action_high': JSON,
        'safe_action': JSON,
        'control_period_sec': JSON,
        'max_episode_steps': JSON,
    }
)


@given(FIELDS)
def test_environment_specifications_of_any_json(fields):
    with refusing():
        spec = from_mapping(EnvironmentSpec, fields)
        assert len(spec.hash) == 64
