"""Run the nodes of a system, one process per node, until one ends the run or it is stopped."""

import asyncio
import contextlib
import glob
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rl_edge_bringup import node_exit
from rl_edge_bringup.child_process import ChildProcess, LineLog
from rl_edge_bringup.systems import IGNORE, READY_PERIOD_SEC, SHUTDOWN, NodeDescription, labels

_STOPPED = (0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes that count as a clean stop."""
RUNNER = 'run'
"""Name under which the runner's own lines are passed on."""


@dataclass(frozen=True)
class StopTimes:
    """How long nodes have to end before the next, ruder signal."""

    interrupt_sec: float = 8.0
    """From SIGINT to SIGTERM."""
    terminate_sec: float = 2.0
    """From SIGTERM to SIGKILL."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    reason: str


class Startable(Protocol):
    """What it takes to start a node; `prepare` makes them."""

    @property
    def node(self) -> NodeDescription:
        """Which node it is."""

    @property
    def command(self) -> Sequence[str]:
        """The command line that starts it."""


class _Node:
    """A node and the process that it has now, if any."""

    def __init__(self, process: Startable, name: str) -> None:
        self.process = process
        self.name = name
        self.child: ChildProcess | None = None
        self.started_sec = 0.0
        self.restarts = 0
        self.oom_kills_before = 0
        self.unfinished_line = b''


class RunningSystem:
    """Nodes that run, watched by one thread of their own.

    Use it as a context manager: leaving the block stops what still runs. Every process is killed
    by the kernel when this one ends, in whatever way it does.
    """

    def __init__(
        self,
        processes: Iterable[Startable],
        *,
        on_node_exit: str = SHUTDOWN,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str, str], None] | None = None,
        stop_times: StopTimes | None = None,
    ) -> None:
        """Prepare; entering the block starts the processes.

        ``environment`` is added to this process's own. ``on_line`` receives (node, line) on the
        watching thread.
        """
        self.log = LineLog(on_line)
        started = list(processes)
        names = labels([process.node for process in started])
        self._nodes = {
            name: _Node(process, name) for process, name in zip(started, names, strict=True)
        }
        self._on_node_exit = on_node_exit
        self._environment = {**os.environ, 'PYTHONUNBUFFERED': '1', **(environment or {})}
        self._stop_times = stop_times or StopTimes()
        self._loop = asyncio.new_event_loop()
        self._all_ended = self._loop.create_future()
        self._outcome: Outcome | None = None
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name='running_system', daemon=True)

    def __enter__(self) -> 'RunningSystem':
        """Start a process for each node."""
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Stop what still runs and wait for it."""
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Ask all nodes to end; a second call ends them at once. Does not wait."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing runs any more
            self._loop.call_soon_threadsafe(self._stop, Outcome(0, 'stopped'))

    def wait(self, timeout_sec: float | None = None) -> Outcome:
        """Return how the run ended; raise TimeoutError when it goes on for longer."""
        self._thread.join(timeout_sec)
        if self._thread.is_alive():
            raise TimeoutError(f'the run goes on after {timeout_sec} s')
        if self._failure is not None:
            raise self._failure
        assert self._outcome is not None
        return self._outcome

    def is_running(self) -> bool:
        """Return whether the run goes on."""
        return self._thread.is_alive()

    def pid(self, node: str, *, other_than: int = 0, timeout_sec: float = 60.0) -> int:
        """Return the process id of a node, waiting until it runs (again, in another process).

        Raise TimeoutError when it does not.
        """

        def current() -> int:
            child = self._nodes[node].child
            return child.pid if child is not None and child.pid != other_than else 0

        with self._changed:
            if self._changed.wait_for(current, timeout_sec):
                return current()
        raise TimeoutError(f'{node} did not start in {timeout_sec} s')

    def send(self, node: str, number: signal.Signals) -> None:
        """Send a signal to a node; nothing happens while it does not run."""
        with self._changed:
            child = self._nodes[node].child
            if child is not None:
                child.send(number)

    # What follows runs on the watching thread.

    def _run(self) -> None:
        self._loop.set_exception_handler(self._fail)
        try:
            self._start(list(self._nodes.values()))
            self._loop.run_until_complete(self._all_ended)
        except BaseException as error:  # handed to the caller of wait()
            self._failure = error
        finally:
            for node in self._nodes.values():
                if node.child is not None:  # only after a failure of this very code
                    node.child.kill_group()
                    self._release(node).reap()
                    self._set_child(node, None)
            self._loop.close()
            self.log.close()

    def _start(self, nodes: list[_Node]) -> None:
        """Start nodes; those after one with a ready file follow when the file is there."""
        for index, node in enumerate(nodes):
            if self._outcome is not None:
                return
            node.oom_kills_before = node_exit.count_oom_kills()
            child = ChildProcess(node.process.command, self._environment)
            node.started_sec = time.monotonic()
            self._set_child(node, child)
            self._loop.add_reader(child.output, self._on_output, node)
            self._loop.add_reader(child.ended, self._on_ended, node)
            self.log.write(RUNNER, f'{node.name} started (pid {child.pid})')
            if node.process.node.ready_file:
                self._continue_when_ready(node.process.node.ready_file, nodes[index + 1 :])
                return

    def _continue_when_ready(self, pattern: str, nodes: list[_Node]) -> None:
        if self._outcome is not None:
            return
        if glob.glob(pattern):
            self._start(nodes)
        else:
            self._loop.call_later(READY_PERIOD_SEC, self._continue_when_ready, pattern, nodes)

    def _set_child(self, node: _Node, child: ChildProcess | None) -> None:
        with self._changed:
            node.child = child
            self._changed.notify_all()

    def _on_output(self, node: _Node) -> None:
        assert node.child is not None
        data = node.child.read_output()
        if data is None:
            return
        if not data:
            self._loop.remove_reader(node.child.output)
        *lines, node.unfinished_line = (node.unfinished_line + data).split(b'\n')
        for line in lines:
            self.log.write(node.name, _text(line))

    def _on_ended(self, node: _Node) -> None:
        child = self._release(node)
        return_code = child.reap()
        self._set_child(node, None)
        if self._outcome is None:
            self._decide(node, child.pid, return_code)
        elif return_code not in _STOPPED:
            exited = node_exit.describe_exit(
                return_code, node_exit.count_oom_kills() - node.oom_kills_before
            )
            self.log.write(RUNNER, f'{node.name} (pid {child.pid}) {exited} while stopping')
        self._end_if_idle()

    def _release(self, node: _Node) -> ChildProcess:
        child = node.child
        assert child is not None
        self._loop.remove_reader(child.ended)
        self._loop.remove_reader(child.output)
        while data := child.read_output():
            node.unfinished_line += data
        for line in node.unfinished_line.splitlines():
            self.log.write(node.name, _text(line))
        node.unfinished_line = b''
        return child

    def _decide(self, node: _Node, pid: int, return_code: int) -> None:
        if time.monotonic() - node.started_sec > node_exit.HEALTHY_SEC:
            node.restarts = 0
        decision = node_exit.decide_after_exit(
            node.process.node,
            label=node.name,
            pid=pid,
            return_code=return_code,
            on_node_exit=self._on_node_exit,
            restarts=node.restarts,
            oom_kills=node_exit.count_oom_kills() - node.oom_kills_before,
            is_last=not any(
                other.child for other in self._nodes.values() if other.process.node.ends_run
            ),
        )
        self.log.write(RUNNER, decision.message)
        if decision.is_over:
            self._stop(Outcome(decision.exit_code, decision.message))
        elif decision.restart_after_sec is not None:
            node.restarts += 1
            self._loop.call_later(decision.restart_after_sec, self._start, [node])
        elif self._on_node_exit == IGNORE and not self._running():
            self._stop(Outcome(0, 'all nodes have exited'))

    def _running(self) -> list[ChildProcess]:
        return [node.child for node in self._nodes.values() if node.child is not None]

    def _stop(self, outcome: Outcome) -> None:
        if self._outcome is not None:  # asked a second time
            self._kill_all()
            return
        self._outcome = outcome
        self._signal_all(signal.SIGINT)
        times = self._stop_times
        self._loop.call_later(times.interrupt_sec, self._signal_all, signal.SIGTERM)
        self._loop.call_later(times.interrupt_sec + times.terminate_sec, self._kill_all)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        idle = self._outcome is not None and not self._running()
        if idle and not self._all_ended.done():
            self._all_ended.set_result(None)

    def _fail(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._all_ended.done():
            error = context.get('exception') or RuntimeError(context['message'])
            self._all_ended.set_exception(error)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._running():
            child.send(number)

    def _kill_all(self) -> None:
        for node in self._nodes.values():
            if node.child is not None:
                self.log.write(RUNNER, f'{node.name} (pid {node.child.pid}) does not end: killed')
                node.child.kill_group()


def _text(line: bytes) -> str:
    return line.decode(errors='replace').rstrip('\r')
