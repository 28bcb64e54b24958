import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.observation_layout import ObservationLayout

LAYOUT = ObservationLayout(('torso.z', 'torso.qw', 'hip.angle', 'foot.fx', 'foot.fy'))


def test_finds_values_by_name():
    assert LAYOUT.index('torso.z') == 0
    assert LAYOUT.slice_of('torso') == slice(0, 2)
    assert LAYOUT.slice_of('foot') == slice(3, 5)
    selected = LAYOUT.select(np.arange(10.0).reshape(2, 5), ['foot.fx', 'torso.z'])
    np.testing.assert_array_equal(selected, [[3.0, 0.0], [8.0, 5.0]])


def test_unknown_names_list_what_there_is():
    with pytest.raises(ConfigurationError, match=r"'torso\.y'; there are torso\.z, torso\.qw"):
        LAYOUT.index('torso.y')
    with pytest.raises(ConfigurationError, match="'knee'; there are foot, hip, torso"):
        LAYOUT.slice_of('knee')


def test_refuses_a_slice_of_scattered_values():
    with pytest.raises(ConfigurationError, match='not neighbours'):
        ObservationLayout(('a.x', 'b.x', 'a.y')).slice_of('a')
