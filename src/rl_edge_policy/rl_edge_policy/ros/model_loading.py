"""Load models off the executor's thread, while observations are answered."""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.executors import Executor
from rclpy.task import Future

from rl_edge_core.errors import ConfigurationError, RlEdgeError


class ModelLoading:
    """One load at a time, each in a thread of its own."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._busy = threading.Lock()

    async def run(self, load: Callable[[], Any], executor: Executor | None) -> Any:
        """Return what ``load`` returns, to be awaited in a callback of ``executor``.

        Raise what it raises as RlEdgeError, and ConfigurationError while another one is loaded.
        """
        if not self._busy.acquire(blocking=False):
            raise ConfigurationError('another model is being loaded: call again when it is done')
        try:
            loaded = Future(executor=executor)
            threading.Thread(
                target=_complete, args=(loaded, load, executor), name='load_model', daemon=True
            ).start()
            return await loaded
        except (MemoryError, RuntimeError) as error:  # no memory, or none for another thread
            raise RlEdgeError(f'no memory to load a model: {error}') from error
        finally:
            self._busy.release()


def _complete(loaded: Future, load: Callable[[], Any], executor: Executor | None) -> None:
    try:
        loaded.set_result(load())
    except RlEdgeError as error:
        loaded.set_exception(error)
    except Exception as error:  # the caller needs an answer whatever a runtime raises
        loaded.set_exception(RlEdgeError(f'{type(error).__name__}: {error}'))
    # A task that waits is looked at again when the executor wakes.
    if executor is not None:
        executor.wake()
