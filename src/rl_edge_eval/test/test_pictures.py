"""Pictures in bags: how smoothly they came, and what is on them."""

from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rl_edge_core.errors import ConfigurationError
from rl_edge_eval.bag.messages import BagError
from rl_edge_eval.evaluate import BagEvaluation
from rl_edge_eval.figures.robot_record import NodeRecord
from rl_edge_eval.figures.smoothness import smoothness
from rl_edge_eval.pictures import IMAGE_TYPE, pictures_of
from rl_edge_eval.recording.bag_file import BagFile
from rl_edge_eval.recording.message_definitions import message_definition

MS = 1_000_000


def write_pictures(folder: Path, *, encoding: str = 'rgb8', size: int = 12) -> Path:
    bag = BagFile(folder, 'mcap')
    topic = bag.add_topic('/ant0/image', IMAGE_TYPE, message_definition(IMAGE_TYPE), [])
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


def test_pictures_are_late_from_one_and_a_half_periods_on() -> None:
    # Gaps of 50, 75, 76 and 199 ms where one is due every 50 ms: the last two are late.
    found = smoothness(np.array([0, 50, 125, 201, 400]) * MS, period_sec=0.05)

    assert found is not None
    assert found.late_share.estimate == 0.5
    assert found.late_share.count == 4
    assert found.rate_hz == pytest.approx(10.0)
    assert found.interval_ms.max == pytest.approx(199.0)
    assert found.pictures == 5


def test_order_of_arrival_does_not_matter() -> None:
    found = smoothness([100 * MS, 0, 50 * MS], period_sec=0.05)

    assert found is not None
    assert found.late_share.estimate == 0.0


@pytest.mark.parametrize('times', [[], [5]])
def test_less_than_two_pictures_say_nothing(times: list[int]) -> None:
    assert smoothness(times, period_sec=0.05) is None


@pytest.mark.parametrize('period_sec', [0.0, -1.0, float('nan')])
def test_a_period_has_to_be_above_zero(period_sec: float) -> None:
    with pytest.raises(ConfigurationError, match='must be above 0'):
        smoothness([0, 1], period_sec=period_sec)


def test_pictures_of_a_bag_come_with_their_times(tmp_path: Path) -> None:
    bag = write_pictures(tmp_path / 'walk')

    pictures = list(pictures_of(bag))

    assert [picture.time_ns for picture in pictures] == [100 * MS, 150 * MS, 200 * MS]
    assert [int(picture.pixels[1, 1, 2]) for picture in pictures] == [0, 1, 2]
    assert pictures[0].pixels.shape == (2, 2, 3)


def test_an_evaluation_keeps_when_pictures_came_and_makes_no_robot_of_a_camera(
    tmp_path: Path,
) -> None:
    evaluation = BagEvaluation(write_pictures(tmp_path / 'walk'))
    evaluation.run()

    assert list(evaluation.picture_times_ns['/ant0']) == [100 * MS, 150 * MS, 200 * MS]
    assert not evaluation.robots


@pytest.mark.parametrize(
    ('values', 'message'),
    [({'encoding': 'mono8'}, "'mono8', must be rgb8"), ({'size': 7}, '7 bytes instead of 12')],
)
def test_pictures_that_cannot_be_shown_are_an_error(
    tmp_path: Path, values: dict, message: str
) -> None:
    bag = write_pictures(tmp_path / 'walk', **values)

    with pytest.raises(BagError, match=message):
        list(pictures_of(bag))


def test_reports_of_a_node_can_be_cut_to_a_span() -> None:
    record = NodeRecord()
    for second in range(5):
        record.times_ns.append(second)
        record.pids.append(7)
        for name in NodeRecord.FIGURES:
            record.values[name].append(10.0 * second)

    kept = record.between(1, 3)

    assert list(kept.times_ns) == [1, 2, 3]
    assert list(kept.values['cpu_percent']) == [10.0, 20.0, 30.0]
