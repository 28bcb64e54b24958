"""Load models off the executor's thread, while observations are answered."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from rclpy.executors import Executor
from rclpy.task import Future

from rl_edge_core.errors import ConfigurationError, RlEdgeError

_Request = tuple[Future, Callable[[], Any], Executor | None]


class ModelLoading:
    """One load at a time, in a thread that waits for them.

    It is there from the start: where memory is short, a new one may die before it has begun, and
    who starts it would wait for it for ever.
    """

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name='load_model', daemon=True).start()

    async def run(self, load: Callable[[], Any], executor: Executor | None) -> Any:
        """Return what ``load`` returns, to be awaited in a callback of ``executor``.

        Raise what it raises as RlEdgeError, and ConfigurationError while another one is loaded.
        """
        if not self._busy.acquire(blocking=False):
            raise ConfigurationError('another model is being loaded: call again when it is done')
        try:
            loaded = Future(executor=executor)
            self._requests.put((loaded, load, executor))
            return await loaded
        except MemoryError as error:
            raise RlEdgeError(f'no memory to load a model: {error}') from error
        finally:
            self._busy.release()

    def close(self) -> None:
        """End the thread, after a load that is under way."""
        self._requests.put(None)

    def _work(self) -> None:
        while request := self._requests.get():
            loaded, load, executor = request
            try:
                loaded.set_result(load())
            except RlEdgeError as error:
                loaded.set_exception(error)
            except MemoryError as error:
                loaded.set_exception(RlEdgeError(f'no memory to load a model: {error}'))
            except Exception as error:  # the caller needs an answer whatever a runtime raises
                loaded.set_exception(RlEdgeError(f'{type(error).__name__}: {error}'))
            # A task that waits is looked at again when the executor wakes.
            if executor is not None:
                executor.wake()
