"""The recorder node: raw messages into a bag, as ``ros2 bag record`` where that is missing."""

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import free_path, storage_errors, user_path
from rl_edge_core.recording import select_topics
from rl_edge_core.ros.diagnostics import ERROR, OK, DiagnosticsPublisher, ResourceReporter
from rl_edge_core.ros.parameters import declare_parameters
from rl_edge_core.shared_parameters import NUMBER, RecorderParameters
from rl_edge_eval.commands import record_node
from rl_edge_eval.recording.arrival_order import ArrivalOrder, Received
from rl_edge_eval.recording.bag_file import BagFile, Limits
from rl_edge_eval.ros.recorded_topics import RecordedTopics

_DISCOVERY_PERIOD_SEC = 0.25
_TAKE_PERIOD_SEC = 0.05
_ONE_MOMENT_NS = 100_000


class RecorderNode(Node):
    """Record topics of one or more robots.

    A thread takes serialized messages from the middleware and writes them in batches. The
    executor only looks for new topics. The storage file exists as soon as the topics of the
    loop are subscribed to.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Create the bag and start to record; raise StorageError when it can't be created."""
        super().__init__('recorder_node', **kwargs)
        self.finished: Future = Future()
        self._settings = settings = declare_parameters(self, RecorderParameters)
        if not settings.output:
            raise ConfigurationError('parameter output is empty: name the bag folder to create')
        namespaces = settings.namespaces.replace(',', ' ').split() or [self.get_namespace()]
        selection = select_topics(settings.record_topics, namespaces)
        self._topics = RecordedTopics(self, selection)
        limits = Limits(
            settings.max_file_size_mb, settings.max_file_duration_sec, settings.max_bag_size_mb
        )
        folder = user_path(settings.output)
        with storage_errors(folder):
            folder = free_path(folder) if settings.if_exists == NUMBER else folder
        self._bag = BagFile(folder, settings.storage, limits=limits)
        self._numbers: dict[str, int] = {}
        self._order = ArrivalOrder()
        self._failure = ''
        self._closing = threading.Event()
        self._diagnostics = DiagnosticsPublisher(self)
        self._resources = ResourceReporter(self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_DISCOVERY_PERIOD_SEC, self._topics.discover, clock=steady)
        self.create_timer(1.0, self._report, clock=steady)
        self._thread = threading.Thread(target=self._record, name='recorder', daemon=True)
        self._thread.start()
        self.get_logger().info(
            f'recording {settings.record_topics} of {", ".join(namespaces)} to {self._bag.path}'
        )

    def close(self) -> None:
        """Record the last messages, finish the bag, and say what is in it."""
        self._closing.set()
        self._thread.join()
        self._resources.close()
        self._report()

    def _record(self) -> None:
        try:
            flushed = time.monotonic()
            while not self._closing.wait(_TAKE_PERIOD_SEC):
                self._take()
                self._write(self._order.release())
                if time.monotonic() - flushed >= self._settings.flush_period_sec:
                    self._bag.flush()
                    flushed = time.monotonic()
            # Go on while the loop publishes its final messages, as a signal to all makes it do.
            deadline = time.monotonic() + self._settings.linger_sec
            while self._topics.has_publishers() and time.monotonic() < deadline:
                self._take()
                self._write(self._order.release())
                time.sleep(_TAKE_PERIOD_SEC)
            self._take()
            self._write(self._order.release_all())
            self._bag.close()
        except RlEdgeError as error:
            self._fail(str(error))
        except Exception as error:  # else the node would go on silently
            self._fail(f'{type(error).__name__}: {error}')
            raise

    def _take(self) -> None:
        for _ in range(10):  # until nothing came between the three readings of one moment
            before, system_ns, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
            if after - before < _ONE_MOMENT_NS:
                break
        self._order.begin(system_ns=system_ns, steady_ns=(before + after) // 2)
        for message in self._topics.take():
            self._order.add(message)

    def _write(self, messages: Iterable[Received]) -> None:
        for time_ns, subscribed, data, published_ns, _ in messages:
            topic = subscribed.topic
            number = self._numbers.get(topic.name)
            if number is None:
                number = self._bag.add_topic(topic, repeat=subscribed.is_sent_once)
                self._numbers[topic.name] = number
            self._bag.write(number, time_ns, data, published_ns=published_ns)

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self.get_logger().error(
            f'recording ended: {reason}. The {self._bag.messages_written} messages before that, '
            f'except those of the last {self._settings.flush_period_sec} s, are in '
            f'{self._bag.folder}'
        )
        if not self.finished.done():
            self.finished.set_result(1)

    def _report(self) -> None:
        values = {'bag': self._bag.path, 'messages': self._bag.messages_written}
        self._diagnostics.publish(ERROR if self._failure else OK, self._failure, values)


if __name__ == '__main__':
    sys.exit(record_node())
