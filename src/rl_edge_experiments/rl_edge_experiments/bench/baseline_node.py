"""The least that can answer observations: a bare rclpy node, with or without an interpreter.

Run as a program: ``baseline_node.py MODEL_FILE RUNTIME --ros-args ...``; MODEL_FILE ``none``
answers with zeros, which is the echo that the loop over ROS 2 is compared with. It imports
nothing of rl_edge but the messages.
"""

import contextlib
import importlib
import sys
from array import array
from collections.abc import Callable

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile

from rl_edge_interfaces.msg import Action, Observation

_ACTION_SIZE = 8
_PACKAGES = {'litert': 'ai_edge_litert', 'tflite_runtime': 'tflite_runtime'}
Answer = Callable[[Observation], array]


def main() -> None:
    """Answer until told to end."""
    model_file, runtime = sys.argv[1:3]
    answer = _zeros if model_file == 'none' else _interpreter(model_file, runtime)
    rclpy.init(args=sys.argv)
    node = Node('floor')
    publisher = node.create_publisher(Action, 'action', QoSProfile(depth=10))
    reply = Action()

    def on_observation(message: Observation) -> None:
        reply.header = message.header
        reply.run_id = message.run_id
        reply.episode = message.episode
        reply.step = message.step
        reply.values = answer(message)
        publisher.publish(reply)

    node.create_subscription(Observation, 'observation', on_observation, QoSProfile(depth=1))
    with contextlib.suppress(KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        rclpy.spin(node)


def _zeros(_: Observation) -> array:
    return array('f', bytes(4 * _ACTION_SIZE))


def _interpreter(model_file: str, runtime: str) -> Answer:
    interpreter_type = importlib.import_module(f'{_PACKAGES[runtime]}.interpreter').Interpreter
    with open(model_file, 'rb') as file:
        interpreter = interpreter_type(model_content=file.read(), num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]['index']
    target = interpreter.get_output_details()[0]['index']

    def answer(message: Observation) -> array:
        interpreter.set_tensor(source, np.frombuffer(message.values, np.float32)[None])
        interpreter.invoke()
        return array('f', interpreter.get_tensor(target).tobytes())

    return answer


if __name__ == '__main__':
    main()
