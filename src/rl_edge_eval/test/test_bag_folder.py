"""Names of bag folders."""

from rl_edge_eval.recording.bag_folder import free_folder


def test_the_first_name_that_is_free_is_taken(tmp_path) -> None:
    bag = tmp_path / 'bag'

    assert free_folder(bag) == bag
    bag.mkdir()
    assert free_folder(bag) == tmp_path / 'bag_2'
    (tmp_path / 'bag_3').mkdir()
    assert free_folder(bag) == tmp_path / 'bag_2'
    (tmp_path / 'bag_2').touch()
    assert free_folder(bag) == tmp_path / 'bag_4'
