"""The policy node as a process of its own: imports, signals, exit codes."""

import ast
import dataclasses
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from rl_edge_core.artifact import load_manifest, write_manifest
from rl_edge_core.files import sha256_of
from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import PolicyStatus
from rl_edge_interfaces.srv import LoadModel

LIMIT_SEC = 60.0

# What is imported when the node could be made.
COUNTS_MODULES = """
import sys
import rl_edge_policy.policy_node
own = [name for name in sys.modules if name.startswith('rl_edge_')]
print(sorted(name for name in own if not name.startswith('rl_edge_interfaces')))
"""

# The node's own main, and what was imported when it ended.
LISTS_IMPORTS = """
import sys
from rl_edge_policy.policy_node import main
code = main()
heavy = ('tensorflow', 'keras', 'gymnasium', 'mujoco', 'rl_edge_sim', 'tflite_runtime')
heavy += ('rl_edge_core.command', 'zipfile', 'argparse', 'difflib')  # 2 MB
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

    wait_for.node, wait_for.executor = node, executor
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


def test_no_transition_that_is_not_possible_ends_it(observer, artifacts):
    """All ids from every state, and doubled ones: the answer is no, and it lives on."""
    process = start(f'model:={artifacts / "plane"}', 'autostart:=false')
    observer(PolicyStatus.UNCONFIGURED, process)
    change = observer.node.create_client(ChangeState, 'policy/change_state')
    states = observer.node.create_client(GetState, 'policy/get_state')

    def call(client, request):
        future = client.call_async(request)
        while not future.done():
            observer.executor.spin_once(timeout_sec=0.1)
            assert process.poll() is None, process.stdout.read()
        return future.result()

    def ask(number):
        return call(change, ChangeState.Request(transition=Transition(id=number))).success

    while not (change.service_is_ready() and states.service_is_ready()):
        observer.executor.spin_once(timeout_sec=0.1)
    possible = {
        'unconfigured': (Transition.TRANSITION_CONFIGURE, 5),
        'inactive': (Transition.TRANSITION_CLEANUP, Transition.TRANSITION_ACTIVATE, 6),
        'active': (Transition.TRANSITION_DEACTIVATE, 7),
    }
    numbers = [*range(12), *range(10, 70, 10), 61, 62, 99, 255]
    refused = 0
    steps = (None, Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    for state, step in zip(possible, steps, strict=True):
        assert step is None or ask(step)
        for number in numbers:
            if number not in possible[state]:
                assert not ask(number)
                refused += 1
        assert call(states, GetState.Request()).current_state.label == state
    assert refused >= 54
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=LIMIT_SEC)
    assert process.returncode == 0
    assert 'Traceback' not in output
    assert 'no transition 1 starts from state active; possible are deactivate (4)' in output


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


def test_few_modules_are_loaded_before_it_starts():
    done = subprocess.run(
        [sys.executable, '-c', COUNTS_MODULES], capture_output=True, text=True, check=True
    )
    modules = ast.literal_eval(done.stdout)
    assert len(modules) <= 20, modules


def test_a_damaged_model_with_a_fitting_hash_does_not_end_it(observer, artifacts, tmp_path):
    """Bytes of the file are overwritten; each either answers as before or is refused."""
    process = start(f'model:={artifacts / "study"}')
    observer(PolicyStatus.ACTIVE, process)
    client = observer.node.create_client(LoadModel, 'policy/load_model')
    original = (artifacts / 'study' / 'actor_float32.tflite').read_bytes()
    generator = np.random.default_rng(5)
    messages = []
    for attempt in range(6):
        folder = tmp_path / f'damaged_{attempt}'
        shutil.copytree(artifacts / 'study', folder)
        damaged = bytearray(original)
        for place in generator.integers(0, 3000, size=4 * attempt + 4):
            damaged[place] = int(generator.integers(256))
        (folder / 'actor_float32.tflite').write_bytes(damaged)
        manifest = load_manifest(folder)
        files = tuple(
            dataclasses.replace(entry, sha256=sha256_of(bytes(damaged)))
            if entry.recipe == 'float32'
            else entry
            for entry in manifest.files
        )
        write_manifest(dataclasses.replace(manifest, files=files), folder)
        future = client.call_async(LoadModel.Request(path=str(folder), recipe='float32'))
        while not future.done():
            observer.executor.spin_once(timeout_sec=0.1)
            assert process.poll() is None, process.stdout.read()
        messages.append(future.result().message)
    assert any('process of its own' in message or 'cannot load' in message for message in messages)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT_SEC)
    assert process.returncode == 0
