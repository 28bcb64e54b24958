"""Evaluate a bag: one pass over its messages, in bounded memory."""

from array import array
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import DecodingError, decoder_of
from rl_edge_eval.bag.messages import BagTopic, parent_of
from rl_edge_eval.frames import IMAGE_TYPE
from rl_edge_eval.metrics.metrics_from_records import metrics_from_records
from rl_edge_eval.metrics.records import TRANSITION_FIELDS, TRANSITION_TYPE, RobotRecord
from rl_edge_eval.metrics.run_metrics import RunMetrics, TopicMetrics
from rl_edge_eval.metrics.time_axis import TimeAxis

_TAKERS: dict[str, Callable[..., object]] = {
    TRANSITION_TYPE: RobotRecord.add_transition,
    'rl_edge_interfaces/msg/EpisodeSummary': RobotRecord.add_summary,
    'rl_edge_interfaces/msg/Environment': RobotRecord.add_environment,
    'rl_edge_interfaces/msg/PolicyStatus': RobotRecord.add_policy_status,
    'rl_edge_interfaces/msg/ResourceUsage': RobotRecord.add_resources,
}
"""What a robot's record does with the messages of each type."""

Handler = Callable[[bytes, int], None]


def metrics_of_bag(path: Path) -> RunMetrics:
    """Return the metrics of the bag at ``path``; raise BagError when there is none."""
    return _Evaluation(path).run()


class _Evaluation:
    """Robots of one bag, filled by one pass over its messages."""

    def __init__(self, path: Path) -> None:
        self._bag = Bag(path)
        self._notes = self._bag.notes
        self._robots: dict[str, RobotRecord] = {}
        self._image_times_ns: dict[str, array] = {}
        self._handlers: dict[BagTopic, Handler | None] = {}

    def run(self) -> RunMetrics:
        """Read the whole bag and return its metrics."""
        handlers, axis = self._handlers, TimeAxis(self._notes)
        begin_ns, end_ns = 2**63, 0
        for topic, recorded_ns, data in self._bag:
            try:
                handler = handlers[topic]
            except KeyError:
                handler = handlers[topic] = self._handler_of(topic)
            time_ns = axis.place(topic, recorded_ns)
            begin_ns, end_ns = min(begin_ns, time_ns), max(end_ns, time_ns)
            if handler is not None:
                handler(data, time_ns)
        for topic in self._bag.message_counts:  # also those without a message
            if topic.message_type == TRANSITION_TYPE:
                self._robot(parent_of(topic.name))
        if not self._robots:
            self._notes.add('no topic of the control loop is in it')
        breaks_ns = tuple(axis.breaks_ns)
        robots = tuple(
            metrics_from_records(
                robot,
                self._notes,
                image_times_ns=self._image_times_ns.get(name, ()),
                breaks_ns=breaks_ns,
            )
            for name, robot in sorted(self._robots.items())
        )
        begin_ns = min(begin_ns, end_ns)
        duration_sec = (end_ns - begin_ns) * 1e-9
        return RunMetrics(
            path=str(self._bag.path),
            storage=self._bag.storage,
            messages=sum(self._bag.message_counts.values()),
            duration_sec=duration_sec,
            robots=robots,
            topics=self._topics(duration_sec),
            notes=self._notes.lines,
            begin_ns=begin_ns,
            end_ns=end_ns,
        )

    def _topics(self, duration_sec: float) -> tuple[TopicMetrics, ...]:
        counts: Counter[tuple[str, str]] = Counter()
        for topic, count in self._bag.message_counts.items():  # one of each storage file
            counts[topic.name, topic.message_type] += count
        return tuple(
            TopicMetrics(*key, count, count / duration_sec if duration_sec else float('nan'))
            for key, count in sorted(counts.items())
        )

    def _handler_of(self, topic: BagTopic) -> Handler | None:
        if topic.message_type == IMAGE_TYPE:
            # That images came, and when, is what counts: they are not decoded.
            times_ns = self._image_times_ns.setdefault(parent_of(topic.name), array('q'))
            return lambda _, time_ns: times_ns.append(time_ns)
        add = _TAKERS.get(topic.message_type)
        if add is None:
            return None  # recorded for others; it is listed among the topics
        owner, in_folder, _ = topic.name.partition('/resource_usage/')
        take = partial(add, self._robot(owner if in_folder else parent_of(topic.name)))
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

    def _robot(self, namespace: str) -> RobotRecord:
        if namespace not in self._robots:
            self._robots[namespace] = RobotRecord(namespace, self._notes)
        return self._robots[namespace]
