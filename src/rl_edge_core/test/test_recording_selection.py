import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import free_path
from rl_edge_core.recording import select_topics


def test_default_topics_of_each_namespace() -> None:
    selection = select_topics('default', ['/ant0', 'ant1/'])
    assert selection.wants('/ant0/transition')
    assert selection.wants('/ant1/resource_usage/policy')
    assert not selection.wants('/ant2/transition')
    assert not selection.wants('/ant0/observation')
    assert not selection.wants('/clock')
    assert '/ant1/environment' in selection.known_names
    assert '/ant0/resource_usage/*' not in selection.known_names


def test_root_namespace() -> None:
    assert select_topics('default', ['/']).wants('/transition')


def test_all_leaves_hidden_topics_out() -> None:
    selection = select_topics('all', ['/ant0'])
    assert selection.wants('/clock')
    assert selection.wants('/other/deep/topic')
    assert not selection.wants('/ant0/_hidden')
    assert not selection.wants('/_action/status')


def test_names_relative_and_absolute_beside_the_default() -> None:
    selection = select_topics('default, observation /clock', ['/ant0'])
    assert selection.wants('/ant0/observation')
    assert selection.wants('/clock')
    assert selection.wants('/ant0/episode')
    assert not selection.wants('/ant0/action')


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'a\$b', which is not a topic name"):
        select_topics('a$b', ['/ant0'])


def test_the_first_folder_that_is_free_is_taken(tmp_path) -> None:
    bag = tmp_path / 'bag'

    assert free_path(bag) == bag
    bag.mkdir()
    assert free_path(bag) == tmp_path / 'bag_2'
    (tmp_path / 'bag_3').mkdir()
    assert free_path(bag) == tmp_path / 'bag_2'
    (tmp_path / 'bag_2').touch()
    assert free_path(bag) == tmp_path / 'bag_4'
