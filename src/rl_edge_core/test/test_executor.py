"""The executor calls plain callbacks directly, and leaves the rest to rclpy."""

import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.node import Node
from rclpy.task import Future, Task
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from rl_edge_core.ros.executor import DirectExecutor


@pytest.fixture
def node(ros_domain_id):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain_id)
    node = Node('served', context=context)
    node.awaited = None
    executor = DirectExecutor(context=context, awaited=lambda: node.awaited)
    executor.add_node(node)
    node.served_by = executor
    yield node
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.fixture
def tasks(monkeypatch):
    """Count the tasks that rclpy makes."""
    made = []
    monkeypatch.setattr(Task, '__init__', _counted(Task.__init__, made))
    return made


def spin_until_done(executor, future):
    executor.wake_when_done(future)
    while not future.done():
        if not executor.serve_next():
            executor.spin_once()


def _counted(function, made):
    def counting(self, *args, **kwargs):
        made.append(args)
        function(self, *args, **kwargs)

    return counting


def test_messages_and_timers_are_served_without_a_task(node, tasks):
    received, done = [], Future()
    publisher = node.create_publisher(Int32, 'numbers', 10)

    def on_number(message):
        received.append(message.data)
        if message.data == 9:
            done.set_result(True)

    node.create_subscription(Int32, 'numbers', on_number, 10)

    def on_timer():
        if publisher.get_subscription_count() and len(sent) < 10:
            publisher.publish(Int32(data=len(sent)))
            sent.append(True)

    sent = []
    node.create_timer(0.01, on_timer)
    spin_until_done(node.served_by, done)
    assert received == list(range(10))
    assert len(tasks) <= 1  # the one that ends the wait


@pytest.mark.parametrize('by', ['timer', 'message'])
def test_what_a_callback_raises_ends_the_spinning(node, by):
    def raising(*_):
        raise ZeroDivisionError('in a callback')

    publisher = node.create_publisher(Int32, 'numbers', 10)
    if by == 'timer':
        node.create_timer(0.01, raising)
    else:
        node.create_subscription(Int32, 'numbers', raising, 10)
        node.create_timer(0.01, lambda: publisher.publish(Int32()))
    with pytest.raises(ZeroDivisionError, match='in a callback'):
        spin_until_done(node.served_by, Future())


def test_a_service_may_wait_while_messages_are_served(node):
    awaited, done, ticks = Future(executor=node.served_by), Future(), []

    async def answer(request, response):
        response.message = await awaited
        return response

    group = ReentrantCallbackGroup()
    node.create_service(Trigger, 'slow', answer, callback_group=group)
    client = node.create_client(Trigger, 'slow', callback_group=group)

    def on_timer():
        ticks.append(True)
        if len(ticks) == 1:
            call = client.call_async(Trigger.Request())
            call.add_done_callback(lambda future: done.set_result(future.result().message))
        if len(ticks) == 10:
            awaited.set_result('worth waiting for')

    node.create_timer(0.01, on_timer)
    spin_until_done(node.served_by, done)
    assert done.result() == 'worth waiting for'
    assert len(ticks) >= 10


def test_a_coroutine_is_served_as_rclpy_does(node):
    done, waits = Future(), Future(executor=node.served_by)

    async def on_timer():
        await waits
        if not done.done():
            done.set_result('went on')

    def on_other_timer():
        if not waits.done():
            waits.set_result(True)

    node.create_timer(0.01, on_timer, callback_group=ReentrantCallbackGroup())
    node.create_timer(0.05, on_other_timer)
    spin_until_done(node.served_by, done)
    assert done.result() == 'went on'


def test_awaited_messages_keep_nothing_else_from_being_served(node):
    """Each message is followed at once by the next: only the clock ends looking at them alone."""
    done, ticks, received = Future(), [], []
    publisher = node.create_publisher(Int32, 'numbers', 10)

    def on_number(message):
        received.append(message.data)
        publisher.publish(Int32(data=message.data + 1))

    def on_timer():
        ticks.append(len(received))
        if not received:
            publisher.publish(Int32())
        elif len(ticks) > 10 and not call:
            call.append(client.call_async(Trigger.Request()))
            call[0].add_done_callback(lambda _: done.set_result(True))

    call = []
    node.create_service(Trigger, 'quick', lambda request, response: response)
    client = node.create_client(Trigger, 'quick')
    node.create_timer(0.01, on_timer)
    node.awaited = node.create_subscription(Int32, 'numbers', on_number, 10)
    spin_until_done(node.served_by, done)
    assert received == list(range(len(received)))
    assert any(0 < count < len(received) for count in ticks)


def test_an_awaited_subscription_may_be_destroyed_by_its_own_callback(node):
    done, received = Future(), []
    publisher = node.create_publisher(Int32, 'numbers', 10)

    def on_number(message):
        received.append(message.data)
        old, node.awaited = node.awaited, None
        node.destroy_subscription(old)
        if len(received) == 3:
            done.set_result(True)
        else:
            node.awaited = node.create_subscription(Int32, 'numbers', on_number, 10)

    node.create_timer(0.01, lambda: publisher.publish(Int32(data=1)))
    node.awaited = node.create_subscription(Int32, 'numbers', on_number, 10)
    spin_until_done(node.served_by, done)
    assert received == [1, 1, 1]
