"""How TensorFlow runs in our processes: quiet, without GPUs, on one thread unless a run has more.

TensorFlow reads these variables while it is loaded and when it starts. So each program calls
`set_up_tensorflow` before anything imports TensorFlow; no module does so while it is imported.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import sys
from collections.abc import Iterator

ENVIRONMENT = {
    'TF_CPP_MIN_LOG_LEVEL': '3',
    'CUDA_VISIBLE_DEVICES': '-1',
    # The learner has a core to itself, the simulation uses the others.
    'TF_NUM_INTRAOP_THREADS': '1',
    'TF_NUM_INTEROP_THREADS': '1',
}
"""What is set where the user has set nothing, except for the log level, which is ours."""
NOISE = re.compile(
    r'All log messages before absl|oneDNN custom operations|cpu_feature_guard|XNNPACK delegate'
    r'|rebuild TensorFlow with|Could not find cuda|Unable to register cu|computation_placer'
)
"""What TensorFlow and TensorFlow Lite say at every start, whatever their log level."""
XLA_FLAG = '--xla_cpu_multi_thread_eigen=false'


def set_up_tensorflow() -> None:
    """Set the environment that TensorFlow reads when it is imported; safe to call twice."""
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = ENVIRONMENT['TF_CPP_MIN_LOG_LEVEL']
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    flags = os.environ.get('XLA_FLAGS', '')
    if XLA_FLAG not in flags:
        os.environ['XLA_FLAGS'] = f'{flags} {XLA_FLAG}'.strip()


def load_tensorflow(*, announced: bool = False) -> None:
    """Set the environment and import TensorFlow, without the lines that it says at every start.

    ``announced`` says so on stderr first, since it takes seconds: for commands.
    """
    set_up_tensorflow()
    if 'tensorflow' not in sys.modules:
        if announced:
            print('loading TensorFlow ...', file=sys.stderr, flush=True)
        with importing():
            import tensorflow  # noqa: F401


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import a runtime without `NOISE`, and TensorFlow in three quarters of the time.

    No garbage is collected in the block, and Keras finds no Matplotlib, whose pyplot it imports
    for pictures that nobody here draws. Those who plot import it later.
    """
    collects, plots = gc.isenabled(), 'matplotlib' in sys.modules
    gc.disable()
    if not plots:
        sys.modules['matplotlib'] = None  # type: ignore[assignment]  # an ImportError for Keras
    try:
        with without_noise():
            yield
    finally:
        if not plots:
            del sys.modules['matplotlib']
        if collects:
            gc.enable()


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Keep `NOISE` that libraries write to file descriptor 2 from being seen in the block.

    What else is written there appears at the end of the block.
    """
    sys.stderr.flush()
    descriptor = os.dup(2)
    try:
        # In memory: there may be no folder to write to.
        with os.fdopen(os.memfd_create('stderr'), 'w+b') as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(descriptor, 2)
                held.seek(0)
                for line in held:
                    if not NOISE.search(line.decode(errors='replace')):
                        os.write(2, line)
    finally:
        os.close(descriptor)
