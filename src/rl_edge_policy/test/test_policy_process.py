"""The policy node as a process of its own: imports, signals, exit codes."""

import signal
import subprocess
import sys

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import PolicyStatus

LIMIT_SEC = 60.0

# The node's own main, and what was imported when it ended.
LISTS_IMPORTS = """
import sys
from rl_edge_policy.policy_node import main
code = main()
heavy = ('tensorflow', 'keras', 'gymnasium', 'mujoco', 'rl_edge_sim', 'tflite_runtime')
print('imported:', [name for name in heavy if name in sys.modules])
sys.exit(code)
"""


@pytest.fixture
def observer(ros_domain_id):
    """Return a function that waits for a status of a state."""
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain_id)
    node = Node('observer', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    statuses = []
    node.create_subscription(PolicyStatus, 'policy_status', statuses.append, qos.policy_status())

    def wait_for(state, process):
        while not any(status.state == state for status in statuses):
            executor.spin_once(timeout_sec=0.1)
            if process.poll() is not None:  # what it said may still be on its way in here
                for _ in range(50):
                    executor.spin_once(timeout_sec=0.1)
                break
        return next(status for status in statuses if status.state == state)

    yield wait_for
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def start(*parameters, program=('-m', 'rl_edge_policy.policy_node')):
    arguments = [part for parameter in parameters for part in ('-p', parameter)]
    return subprocess.Popen(
        [sys.executable, *program, '--ros-args', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_last_words(observer, artifacts, number):
    process = start(f'model:={artifacts / "study"}', program=('-c', LISTS_IMPORTS))
    observer(PolicyStatus.ACTIVE, process)
    process.send_signal(number)
    assert observer(PolicyStatus.FINALIZED, process).model_id == 'study/actor_float32.tflite'
    output, _ = process.communicate(timeout=LIMIT_SEC)
    assert process.returncode == 0
    assert 'Traceback' not in output
    # A compressed policy needs none of these, and none is there.
    assert 'imported: []' in output


def test_a_policy_that_cannot_be_loaded_ends_it_with_the_reason(observer, artifacts):
    process = start(f'model:={artifacts / "plane"}', 'recipe:=int3')
    assert "no recipe 'int3'" in observer(PolicyStatus.FAILED, process).reason
    output, _ = process.communicate(timeout=LIMIT_SEC)
    assert process.returncode == 1
    assert "plane has no recipe 'int3'; it has keras, float32" in output
    assert 'Traceback' not in output


def test_a_parameter_that_is_not_valid_is_one_line(ros_domain_id, artifacts):
    process = start(f'model:={artifacts / "plane"}', 'runtime:=onnx')
    output, _ = process.communicate(timeout=LIMIT_SEC)
    assert process.returncode == 1
    assert output.splitlines()[-1] == (
        "error: parameter runtime is 'onnx', must be one of auto, keras, litert, tflite_runtime"
    )
