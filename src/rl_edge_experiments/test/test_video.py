"""Images as a video: how long each is shown, and what is written."""

import numpy as np
import pytest
from PIL import Image

from rl_edge_core.errors import ConfigurationError
from rl_edge_experiments.clip import (
    captioned,
    distance_text,
    side_by_side,
    whole_hundredths,
    write_gif,
)
from rl_edge_sim.video import Video


def picture(shade):
    return np.full((40, 60, 3), shade, np.uint8)


def test_durations_are_whole_hundredths_whose_sum_is_kept():
    # 33 -> 30 (owes 3), 33 + 3 -> 40 (has 4 too much), 33 - 4 -> 30
    assert whole_hundredths(3, 33.0) == [30, 40, 30]
    assert whole_hundredths(2, 250.0) == [250, 250]


def test_no_image_is_shown_for_less_than_viewers_can():
    assert whole_hundredths(2, 5.0) == [20, 20]


def test_a_gif_has_every_image_for_its_time(tmp_path):
    path = tmp_path / 'video.gif'

    write_gif(path, [picture(0), picture(120), picture(250)], period_ms=400.0)

    with Image.open(path) as video:
        assert video.n_frames == 3
        assert video.size == (60, 40)
        video.seek(2)
        assert video.info['duration'] == 400
        assert video.convert('RGB').getpixel((30, 20))[0] == pytest.approx(250, abs=4)


def test_a_video_has_an_image(tmp_path):
    with pytest.raises(ConfigurationError, match='0 images'):
        write_gif(tmp_path / 'video.gif', [], period_ms=50.0)


def test_captions_are_written_on_a_copy():
    plain = picture(100)

    written = captioned(plain, 'a line')

    assert written.shape == plain.shape
    assert (written > 150).any()
    assert (plain == 100).all()


def test_images_side_by_side_have_a_line_between_them():
    both = side_by_side(picture(10), picture(20))

    assert both.shape == (40, 122, 3)
    assert (both[0, 0, 0], both[0, -1, 0]) == (10, 20)


def test_time_and_distance_count_from_the_first_image():
    video = Video('Ant-v5', {}, 0.05, np.zeros((3, 1)), np.array([2.0, 2.5, 3.5]))
    nowhere = Video('Ant-v5', {}, 0.05, np.zeros((3, 1)), np.full(3, np.nan))

    assert distance_text(video, 2) == '0.1 s, 1.5 m'
    assert distance_text(nowhere, 2) == '0.1 s'
