"""Pictures of what is simulated, where this machine can draw at all."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from rl_edge_sim.rendering import InlinePictures, RenderThread

_PROBE = (
    'import gymnasium; env = gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array", '
    'width=16, height=16); env.reset(); env.render()'
)


def _can_draw():
    # In a process of its own: OpenGL libraries that fail may take the process with them.
    probe = subprocess.run([sys.executable, '-c', _PROBE], capture_output=True, timeout=100)
    return probe.returncode == 0


class Screen:
    def __init__(self):
        self.pictures, self.failures = [], []
        self.changed = threading.Condition()

    def show(self, picture, time_ns):
        with self.changed:
            self.pictures.append((picture, time_ns))
            self.changed.notify_all()

    def fail(self, reason):
        with self.changed:
            self.failures.append(reason)
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, timeout=100)


def test_pictures_show_the_state_that_was_offered():
    if not _can_draw():
        pytest.skip('this machine has no OpenGL (MUJOCO_GL=egl or osmesa)')
    # In a process of its own, as the sim node is: the LLVM inside Mesa's software renderer and
    # the one inside TensorFlow, which other tests load into this process, crash each other.
    script = Path(__file__).with_name('draw_pictures.py')
    drawn = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100
    )
    assert drawn.returncode == 0, drawn.stderr


def test_missing_opengl_is_named_with_the_remedy():
    def make_broken():
        raise ImportError('cannot find libEGL')

    screen = Screen()
    thread = RenderThread(make_broken, rate_hz=100.0, show=screen.show, fail=screen.fail)
    screen.wait(lambda: screen.failures)
    thread.close()
    (reason,) = screen.failures
    assert 'cannot find libEGL' in reason
    assert 'MUJOCO_GL=egl' in reason
    assert 'osmesa' in reason


def test_drawing_without_a_display_is_an_error_and_not_a_crash():
    script = (
        'import threading; from rl_edge_sim.rendering import RenderThread; '
        'from rl_edge_sim.environment import make_environment as make; '
        'failed = threading.Event(); '
        'env = make("InvertedPendulum-v5"); env.reset(seed=0); '
        'thread = RenderThread(lambda: make("InvertedPendulum-v5", render_mode="rgb_array"), '
        'rate_hz=100.0, show=print, fail=lambda reason: (print(reason), failed.set())); '
        'thread.offer(env, 0); assert failed.wait(60); thread.close()'
    )
    environment = {key: os.environ[key] for key in os.environ if 'DISPLAY' not in key}
    environment['MUJOCO_GL'] = 'glfw'
    result = subprocess.run(
        [sys.executable, '-c', script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert 'MUJOCO_GL=egl' in result.stdout, result.stderr
    assert 'use render none' in result.stdout


class Drawn(gymnasium.Env):
    """Draws itself, without MuJoCo."""

    def __init__(self, fault=None):
        self.render_mode, self.fault = 'rgb_array', fault

    def render(self):
        if self.fault:
            raise self.fault
        return np.full((2, 3, 3), 7, np.uint8)


def test_environments_without_mujoco_draw_themselves():
    screen = Screen()
    pictures = InlinePictures(show=screen.show, fail=screen.fail)
    pictures.offer(Drawn(), 5)
    (picture, time_ns) = screen.pictures[0]
    assert (picture.shape, time_ns) == ((2, 3, 3), 5)
    missing = gymnasium.error.DependencyNotInstalled('pygame is not installed')
    pictures.offer(Drawn(missing), 6)
    pictures.offer(Drawn(missing), 7)
    assert len(screen.failures) == 1
    assert 'pygame is not installed' in screen.failures[0]
