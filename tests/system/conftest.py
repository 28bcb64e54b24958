"""Whole systems of real processes: what the tests start, watch and look for afterwards."""

import contextlib
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rl_edge_bringup.models import results_folder
from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import UNTRAINED, find_system
from rl_edge_compress.untrained import ensure_untrained

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the modules result_keys and watcher

from watcher import TRANSITION_DEPTH, Watcher

Watched = tuple[RunningSystem, RunningSystem, Watcher]
ENVIRONMENT = 'Pendulum-v1'
"""Small, and no episode ends before its 200 steps."""


def pytest_collection_modifyitems(items):
    for item in items:
        if 'tests/system' in str(item.path):
            item.add_marker(pytest.mark.system)
            if item.get_closest_marker('timeout') is None:
                item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope='session')
def model() -> Path:
    """An untrained policy of the pendulum, made once for this checkout."""
    return ensure_untrained(ENVIRONMENT, '', results_folder() / UNTRAINED)


class Command:
    """``python -m rl_edge_bringup ...`` as a user starts it."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'rl_edge_bringup', *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()

    @property
    def text(self) -> str:
        """Return what was written so far."""
        return '\n'.join(self.lines)

    def wait_for(self, part: str, timeout_sec: float = 120.0) -> str:
        """Return the first line that has ``part`` in it."""

        def find() -> str:
            return next((line for line in self.lines if part in line), '')

        with self._changed:
            assert self._changed.wait_for(find, timeout_sec), f'no {part!r} in\n{self.text}'
            return find()

    def nodes(self) -> list[psutil.Process]:
        """Return the processes that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def exit_code(self, timeout_sec: float = 120.0) -> int:
        """Wait for the end."""
        code = self.process.wait(timeout_sec)
        self._reader.join(timeout_sec)
        return code


@pytest.fixture
def namespace() -> str:
    """Return a namespace that nobody else on this machine uses, whatever domain they are in."""
    return f'test_{secrets.token_hex(4)}'


@pytest.fixture
def command(ros_domain_id) -> Iterator[Callable[..., Command]]:
    """Start commands; what still runs after the test is killed."""
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> Command:
            started = Command(*words)
            stack.callback(started.process.wait, 60)
            stack.callback(started.process.kill)
            return started

        yield start


@pytest.fixture
def observe(ros_domain_id, namespace) -> Iterator[Callable[..., Watcher]]:
    """Watch robots."""
    with contextlib.ExitStack() as stack:
        yield lambda namespace=namespace, **kwargs: stack.enter_context(
            Watcher(namespace, domain_id=ros_domain_id, **kwargs)
        )


@pytest.fixture
def system(ros_domain_id, namespace, tmp_path, model) -> Iterator[Callable[..., RunningSystem]]:
    """Start systems of the pendulum with arguments by name; they are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(name: str, **arguments: object) -> RunningSystem:
            description = find_system(name)
            valid = {argument.name for argument in description.arguments}
            given = {'output': str(tmp_path / name / str(len(list(tmp_path.iterdir()))))}
            given |= {'environment_id': ENVIRONMENT, 'model': str(model), 'namespace': namespace}
            given |= {key: str(value) for key, value in arguments.items()}
            prepared = prepare(
                description, {key: value for key, value in given.items() if key in valid}
            )
            running = RunningSystem(prepared.processes, on_node_exit=prepared.on_node_exit)
            return stack.enter_context(running)

        yield start


@pytest.fixture
def watched_loop(
    system, observe, namespace, tmp_path
) -> Callable[..., tuple[RunningSystem, RunningSystem, Watcher]]:
    """Start sim and policy so that the observer misses nothing: the policy comes last.

    The sim keeps as many transitions as the observer does, until that one gets to run.
    """
    deep = tmp_path / 'deep.yaml'
    deep.write_text(f'topics: {{transition: {{depth: {TRANSITION_DEPTH}}}}}')

    def start(namespace=namespace, **arguments) -> Watched:
        observer = observe(namespace)
        desktop = system('desktop', namespace=namespace, qos=deep, **arguments)
        observer.wait_for(lambda: observer.sees_simulator)
        return desktop, system('edge', namespace=namespace, **arguments), observer

    return start


def have_ended(processes: list[psutil.Process], timeout_sec: float = 30.0) -> bool:
    """Wait until the processes have ended, whoever's children they are."""
    _, alive = psutil.wait_procs(processes, timeout=timeout_sec)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(name='have_ended')
def _have_ended() -> Callable[..., bool]:
    return have_ended
