"""Evaluate a bag: one pass over its messages, in bounded memory."""

from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decoders import DecodingError, generic_decoder, transition_decoder
from rl_edge_eval.bag.messages import BagTopic
from rl_edge_eval.bag.notes import Notes
from rl_edge_eval.bag.transition_decoder import TRANSITION_TYPE
from rl_edge_eval.figures.bag_figures import BagFigures, TopicFigures
from rl_edge_eval.figures.finish import robot_figures
from rl_edge_eval.figures.robot_record import RobotRecord
from rl_edge_eval.pictures import IMAGE_TYPE

_PACKAGE = 'rl_edge_interfaces/msg/'
_USAGE_FOLDER = '/resource_usage/'

Handler = Callable[[bytes, int], None]


class BagEvaluation:
    """Robots of one bag, filled by one pass over its messages."""

    def __init__(self, path: Path) -> None:
        """Open the bag; raise BagError when there is none at ``path``."""
        self.bag = Bag(path)
        self.robots: dict[str, RobotRecord] = {}
        self.picture_times_ns: dict[str, array] = {}
        """When pictures arrived, by namespace."""
        self.begin_ns = self.end_ns = 0
        self._handlers: dict[BagTopic, Handler | None] = {}

    @property
    def notes(self) -> Notes:
        """Return what was left out."""
        return self.bag.notes

    def run(self) -> BagFigures:
        """Read the whole bag and return its figures."""
        handlers = self._handlers
        begin_ns, end_ns = 2**63, 0
        for topic, time_ns, data in self.bag:
            try:
                handler = handlers[topic]
            except KeyError:
                handler = handlers[topic] = self._handler_of(topic)
            begin_ns, end_ns = min(begin_ns, time_ns), max(end_ns, time_ns)
            if handler is not None:
                handler(data, time_ns)
        self.begin_ns, self.end_ns = min(begin_ns, end_ns), end_ns
        return self._figures()

    def _figures(self) -> BagFigures:
        for topic in self.bag.message_counts:  # also those without a message
            if topic.message_type == TRANSITION_TYPE:
                self._robot(_parent(topic.name))
        if not self.robots:
            self.notes.add('no topic of the control loop is in it')
        duration_sec = (self.end_ns - self.begin_ns) * 1e-9
        robots = tuple(
            robot_figures(robot, self.notes) for _, robot in sorted(self.robots.items())
        )
        return BagFigures(
            path=str(self.bag.path),
            storage=self.bag.storage,
            messages=sum(self.bag.message_counts.values()),
            duration_sec=duration_sec,
            robots=robots,
            topics=self._topics(duration_sec),
            notes=self.notes.lines,
        )

    def _topics(self, duration_sec: float) -> tuple[TopicFigures, ...]:
        counts: Counter[tuple[str, str]] = Counter()
        for topic, count in self.bag.message_counts.items():  # one of each storage file
            counts[topic.name, topic.message_type] += count
        return tuple(
            TopicFigures(*key, count, count / duration_sec if duration_sec else float('nan'))
            for key, count in sorted(counts.items())
        )

    def _handler_of(self, topic: BagTopic) -> Handler | None:
        if topic.message_type == IMAGE_TYPE:
            # That pictures came, and when, is what counts: they are not decoded.
            times_ns = self.picture_times_ns.setdefault(_parent(topic.name), array('q'))
            return lambda _, time_ns: times_ns.append(time_ns)
        if not topic.message_type.startswith(_PACKAGE):
            return None  # recorded for others; it is listed among the topics
        take = self._taker_of(topic)
        if take is None:
            return None
        try:
            is_transition = topic.message_type == TRANSITION_TYPE
            decode = transition_decoder(topic) if is_transition else generic_decoder(topic)
        except DecodingError as error:
            self.notes.add(f'{error}: its messages are left out')
            return None
        return self._guarded(topic.name, decode, take)

    def _guarded(
        self, name: str, decode: Callable[[bytes], Any], take: Callable[[Any, int], object]
    ) -> Handler:
        def handle(data: bytes, time_ns: int) -> None:
            try:
                message = decode(data)
            except Exception as error:  # rosbags raises many types for malformed bytes
                self.notes.add(
                    f'{name}: messages that cannot be decoded are left out',
                    f'{type(error).__name__}: {error}',
                )
                return
            take(message, time_ns)

        return handle

    def _taker_of(self, topic: BagTopic) -> Callable[[Any, int], object] | None:
        kind = topic.message_type.removeprefix(_PACKAGE)
        if kind == 'Transition':
            return self._robot(_parent(topic.name)).add_transition
        if kind == 'ResourceUsage':
            return self._robot(_owner_of_usage(topic.name)).add_resources
        robot_method = {
            'EpisodeSummary': RobotRecord.add_summary,
            'Environment': RobotRecord.add_environment,
            'PolicyStatus': RobotRecord.add_policy_status,
        }.get(kind)
        if robot_method is None:
            return None
        robot = self._robot(_parent(topic.name))
        return lambda message, _: robot_method(robot, message)

    def _robot(self, namespace: str) -> RobotRecord:
        if namespace not in self.robots:
            self.robots[namespace] = RobotRecord(namespace, self.notes)
        return self.robots[namespace]


def evaluate_bag(path: Path) -> BagFigures:
    """Return the figures of the bag at ``path``; raise BagError when there is none."""
    return BagEvaluation(path).run()


def _parent(topic: str) -> str:
    return topic.rpartition('/')[0]


def _owner_of_usage(topic: str) -> str:
    return topic.partition(_USAGE_FOLDER)[0] if _USAGE_FOLDER in topic else _parent(topic)
