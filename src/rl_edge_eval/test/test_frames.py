"""Images in bags: how smoothly they came, and what is on them."""

from pathlib import Path

import numpy as np
import pytest
from bag_writer import recorded
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rl_edge_core.errors import ConfigurationError
from rl_edge_eval.bag.decode import IMAGE_TYPE, frames_of
from rl_edge_eval.bag.messages import BagError
from rl_edge_eval.metrics.series import REPORT, ImageSmoothness, between
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.recording.bag_file import BagFile

MS = 1_000_000


def write_images(folder: Path, *, encoding: str = 'rgb8', size: int = 12) -> Path:
    bag = BagFile(folder, 'mcap')
    topic = bag.add_topic(recorded('/ant0/image', IMAGE_TYPE))
    for index in range(3):
        image = Image(
            header=Header(stamp=Time(sec=index)),
            height=2,
            width=2,
            encoding=encoding,
            step=6,
            data=[index] * size,
        )
        bag.write(topic, (100 + 50 * index) * MS, serialize_message(image))
    bag.close()
    return folder


def test_images_are_late_from_one_and_a_half_periods_on() -> None:
    # Gaps of 50, 75, 76 and 199 ms where one is due every 50 ms: the last two are late.
    found = ImageSmoothness.of(np.array([0, 50, 125, 201, 400]) * MS, period_sec=0.05)

    assert found is not None
    assert found.late_share.estimate == 0.5
    assert found.late_share.count == 4
    assert found.rate_hz == pytest.approx(10.0)
    assert found.interval_ms.max == pytest.approx(199.0)
    assert found.images == 5


def test_order_of_arrival_does_not_matter() -> None:
    found = ImageSmoothness.of([100 * MS, 0, 50 * MS], period_sec=0.05)

    assert found is not None
    assert found.late_share.estimate == 0.0


@pytest.mark.parametrize('times', [[], [5]])
def test_less_than_two_images_say_nothing(times: list[int]) -> None:
    assert ImageSmoothness.of(times, period_sec=0.05) is None


@pytest.mark.parametrize('period_sec', [0.0, -1.0, float('nan')])
def test_a_period_has_to_be_above_zero(period_sec: float) -> None:
    with pytest.raises(ConfigurationError, match='must be above 0'):
        ImageSmoothness.of([0, 1], period_sec=period_sec)


def test_frames_of_a_bag_come_with_their_times(tmp_path: Path) -> None:
    bag = write_images(tmp_path / 'walk')

    frames = list(frames_of(bag))

    assert [frame.time_ns for frame in frames] == [100 * MS, 150 * MS, 200 * MS]
    assert [int(frame.pixels[1, 1, 2]) for frame in frames] == [0, 1, 2]
    assert frames[0].pixels.shape == (2, 2, 3)


def test_images_alone_make_no_robot_of_a_camera(tmp_path: Path) -> None:
    run = metrics_of_bag(write_images(tmp_path / 'walk'))

    assert run.robots == ()
    assert [(topic.name, topic.messages) for topic in run.topics] == [('/ant0/image', 3)]


@pytest.mark.parametrize(
    ('values', 'message'),
    [({'encoding': 'mono8'}, "'mono8', must be rgb8"), ({'size': 7}, '7 bytes instead of 12')],
)
def test_images_that_cannot_be_shown_are_an_error(
    tmp_path: Path, values: dict, message: str
) -> None:
    bag = write_images(tmp_path / 'walk', **values)

    with pytest.raises(BagError, match=message):
        list(frames_of(bag))


def test_reports_of_a_node_can_be_cut_to_a_span() -> None:
    seconds = np.arange(5)
    values = [10.0 * seconds] * (len(REPORT) - 1)
    reports = np.rec.fromarrays([seconds, *values], REPORT)

    kept = between(reports, 1, 3)

    assert kept.time_ns.tolist() == [1, 2, 3]
    assert kept.cpu_percent.tolist() == [10.0, 20.0, 30.0]
