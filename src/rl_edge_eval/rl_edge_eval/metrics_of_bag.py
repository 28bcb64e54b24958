"""Evaluate a bag: one pass over its messages, in bounded memory."""

from array import array
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path

from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import IMAGE_TYPE, DecodingError, decoder_of
from rl_edge_eval.bag.messages import BagTopic, Notes, parent_of
from rl_edge_eval.metrics.metrics_from_records import metrics_from_records
from rl_edge_eval.metrics.records import TRANSITION_FIELDS, TRANSITION_TYPE, RobotRecord
from rl_edge_eval.metrics.run_metrics import RunMetrics, TopicMetrics

LARGEST_STEP_BACK_SEC = 1.0
"""Messages of one topic that are further back than that mean that the clock was set back; nearer
ones that writing threads overtook each other."""
LONGEST_SILENCE_SEC = 10.0
"""Nodes report once per second: without any message for longer, none of them ran, or the clock
was set forward."""
_TAKERS: dict[str, Callable[..., object]] = {
    TRANSITION_TYPE: RobotRecord.add_transition,
    'rl_edge_interfaces/msg/EpisodeSummary': RobotRecord.add_summary,
    'rl_edge_interfaces/msg/Environment': RobotRecord.add_environment,
    'rl_edge_interfaces/msg/PolicyStatus': RobotRecord.add_policy_status,
    'rl_edge_interfaces/msg/ResourceUsage': RobotRecord.add_resources,
}
"""What a robot's record does with the messages of each type."""


def metrics_of_bag(path: Path) -> RunMetrics:
    """Return the metrics of the bag at ``path``; raise BagError when there is none."""
    bag = Bag(path)
    axis, records = _TimeAxis(bag.notes), _Records(bag.notes)
    begin_ns, end_ns = 2**63, 0
    for topic, recorded_ns, data in bag:
        time_ns = axis.place(topic, recorded_ns)
        begin_ns, end_ns = min(begin_ns, time_ns), max(end_ns, time_ns)
        records.take(topic, data, time_ns)
    topics: Counter[tuple[str, str]] = Counter()
    for topic, count in bag.message_counts.items():  # one of each storage file
        topics[topic.name, topic.message_type] += count
        if topic.message_type == TRANSITION_TYPE:  # also one without a message
            records.robot(parent_of(topic.name))
    if not records.robots:
        bag.notes.add('no topic of the control loop is in it: there is nothing to evaluate')
    robots = tuple(
        metrics_from_records(
            robot,
            bag.notes,
            image_times_ns=records.image_times_ns.get(name, ()),
            breaks_ns=tuple(axis.breaks_ns),
        )
        for name, robot in sorted(records.robots.items())
    )
    for robot in robots:
        if not robot.transitions and not robot.episodes:
            where = f' of {robot.namespace}' if len(robots) > 1 else ''
            bag.notes.add(f'no step{where} is in it: the recording ended before the first one')
    begin_ns = min(begin_ns, end_ns)
    duration_sec = (end_ns - begin_ns) * 1e-9
    return RunMetrics(
        path=str(path),
        storage=bag.storage,
        messages=topics.total(),
        duration_sec=duration_sec,
        robots=robots,
        topics=tuple(
            TopicMetrics(*key, count, count / duration_sec if duration_sec else float('nan'))
            for key, count in sorted(topics.items())
        ),
        notes=bag.notes.lines,
        begin_ns=begin_ns,
        end_ns=end_ns,
    )


class _Records:
    """The records of the robots of one bag, filled by one pass over its messages."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self.robots: dict[str, RobotRecord] = {}
        self.image_times_ns: dict[str, array] = {}
        self._handlers: dict[BagTopic, Callable[[bytes, int], None] | None] = {}

    def take(self, topic: BagTopic, data: bytes, time_ns: int) -> None:
        """Take one message, as far as it says anything about a robot."""
        try:
            handle = self._handlers[topic]
        except KeyError:
            handle = self._handlers[topic] = self._handler_of(topic)
        if handle is not None:
            handle(data, time_ns)

    def robot(self, namespace: str) -> RobotRecord:
        """Return the record of a robot, a new one where it was not met before."""
        if namespace not in self.robots:
            self.robots[namespace] = RobotRecord(namespace, self._notes)
        return self.robots[namespace]

    def _handler_of(self, topic: BagTopic) -> Callable[[bytes, int], None] | None:
        if topic.message_type == IMAGE_TYPE:
            # That images came, and when, is what counts: they are not decoded.
            times_ns = self.image_times_ns.setdefault(parent_of(topic.name), array('q'))
            return lambda _, time_ns: times_ns.append(time_ns)
        add = _TAKERS.get(topic.message_type)
        if add is None:
            return None  # recorded for others; it is listed among the topics
        owner, in_folder, _ = topic.name.partition('/resource_usage/')
        take = partial(add, self.robot(owner if in_folder else parent_of(topic.name)))
        needs = TRANSITION_FIELDS if topic.message_type == TRANSITION_TYPE else ()
        try:
            decode = decoder_of(topic, needs=needs)
        except DecodingError as error:
            self._notes.add(f'{error}: its messages are left out')
            return None

        def handle(data: bytes, time_ns: int) -> None:
            try:
                message = decode(data)
            except DecodingError as error:
                self._notes.add(f'{error}: its messages are left out')
                self._handlers[topic] = None
            except Exception as error:  # malformed bytes raise many types
                self._notes.add_undecodable(topic, error)
            else:
                take(message, time_ns)

        return handle


class _TimeAxis:
    """Take the jumps of the recorder's clock out of the times of recording.

    A computer without a battery starts in 1970 and is set right by NTP minutes later; a suspended
    one sleeps. Neither span is one in which the loop ran.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._shift_ns = 0
        self._newest_ns: int | None = None
        self._newest_of: dict[Hashable, int] = {}
        self.breaks_ns: list[int] = []
        """Where jumps were taken out, on this axis: the first time behind each."""

    def place(self, topic: Hashable, time_ns: int) -> int:
        """Return where a message of ``topic`` belongs, given in the order of the file."""
        placed = time_ns + self._shift_ns
        newest = placed if self._newest_ns is None else self._newest_ns
        back_sec = (self._newest_of.get(topic, placed) - placed) * 1e-9
        ahead_sec = (placed - newest) * 1e-9
        jump = ''
        if back_sec > LARGEST_STEP_BACK_SEC:
            jump = (
                f'the clock was set back by about {-ahead_sec:.4g} s during the recording: that '
                f'moment'
            )
        elif ahead_sec > LONGEST_SILENCE_SEC:
            jump = (
                f'nothing was recorded for {ahead_sec:.4g} s, or the clock was set forward: that '
                f'span'
            )
        if jump:
            self._notes.add(f'{jump} is left out of rates')
            self._shift_ns += newest + 1 - placed
            placed = newest + 1
            self.breaks_ns.append(placed)
            self._newest_of.clear()
        self._newest_ns = max(newest, placed)
        self._newest_of[topic] = placed
        return placed
