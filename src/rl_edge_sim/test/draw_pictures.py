"""Draw an upright and a fallen pendulum and check the pictures; run by test_rendering."""

import queue

import numpy as np

from rl_edge_sim.environment import make_environment
from rl_edge_sim.rendering import RenderThread

WAIT_SEC = 60


def small(**kwargs):
    return make_environment(
        'InvertedPendulum-v5', render_mode='rgb_array', width=64, height=48, **kwargs
    )


def picture_of(shown, time_ns):
    """Return the picture of the state that was offered with that time."""
    while True:
        picture, shown_ns = shown.get(timeout=WAIT_SEC)
        assert not isinstance(picture, str), picture
        if shown_ns == time_ns:
            return picture


def main():
    env = make_environment('InvertedPendulum-v5')
    env.reset(seed=0)
    shown = queue.Queue()
    thread = RenderThread(
        small,
        rate_hz=100.0,
        show=lambda picture, time_ns: shown.put((picture, time_ns)),
        fail=lambda reason: shown.put((reason, 0)),
    )
    try:
        thread.offer(env, 1)
        upright = picture_of(shown, 1)
        while not env.step(np.array([3.0], np.float32))[2]:
            pass
        thread.offer(env, 2)
        fallen = picture_of(shown, 2)
    finally:
        thread.close()
    assert upright.shape == fallen.shape == (48, 64, 3)
    assert upright.dtype == np.uint8
    assert upright.std() > 1
    assert not np.array_equal(upright, fallen)


if __name__ == '__main__':
    main()
