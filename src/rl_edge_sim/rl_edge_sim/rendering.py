"""Pictures of a MuJoCo simulation, drawn on a thread of their own beside the control loop."""

import os
import threading
from collections.abc import Callable
from typing import Protocol, cast

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv

from rl_edge_core.errors import ConfigurationError

RENDER_MODES = {'none': None, 'window': 'human', 'topic': 'rgb_array'}
"""Gymnasium's name for each value of the parameter ``render``."""

_STATE = mujoco.mjtState.mjSTATE_PHYSICS
_TRACKING_CAMERA = 'track'
_ELEVATION_DEG = -22.0
"""Of the camera; low enough to see how far the robot has come."""


def check_window_is_possible() -> None:
    """Raise ConfigurationError when this machine has no display to open a window on."""
    if not os.environ.get('DISPLAY') and not os.environ.get('WAYLAND_DISPLAY'):
        raise ConfigurationError(
            'render is window, but there is no display (neither DISPLAY nor WAYLAND_DISPLAY is '
            'set): use render topic or none, or run where there is a desktop'
        )


class Pictures(Protocol):
    """Draw the simulation now and then."""

    def offer(self, env: gymnasium.Env, time_ns: int) -> None:
        """Let ``env`` be drawn as it is now, at a simulated time."""

    def close(self) -> None:
        """Draw no more; safe to call twice."""


class RenderThread:
    """Draw each state that is offered, as soon as it is.

    It draws with an environment of its own: an OpenGL context belongs to one thread, and the
    control loop does not wait for it. States that come faster than it draws are skipped.
    """

    def __init__(
        self,
        make_env: Callable[[], gymnasium.Env],
        *,
        rate_hz: float,
        show: Callable[[np.ndarray, int], None],
        fail: Callable[[str], None],
    ) -> None:
        """Start the thread.

        ``make_env`` makes the environment, with the render mode ``rgb_array`` (each picture, uint8
        of shape (height, width, 3), goes to ``show`` with the time that came with its state) or
        ``human`` (a window, served ``rate_hz`` times per second also while nothing is offered).
        ``fail`` is called, once, with why there can be no pictures. Both are called on the thread.
        """
        self._make_env, self._show, self._fail = make_env, show, fail
        self._period_sec = 1.0 / rate_hz
        self._newest: tuple[np.ndarray, int] | None = None
        self._closed, self._offered = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name='render', daemon=True)
        self._thread.start()

    def offer(self, env: gymnasium.Env, time_ns: int) -> None:
        """Copy the state of ``env``, in microseconds; it is drawn when its turn comes."""
        self._newest = (state_to_draw(env), time_ns)
        self._offered.set()

    def close(self) -> None:
        """Stop drawing, once the picture in work is done; safe to call twice."""
        self._closed.set()
        self._offered.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            env = self._make_env()
            try:
                follow_robot(env)
                if env.render_mode != 'human':
                    draw_plainly(env)
                env.reset(seed=0)
                self._draw_until_closed(env)
            finally:
                env.close()
        # OpenGL reports that it is missing as AttributeError, ImportError, FatalError and more.
        except Exception as error:
            self._fail(
                f'{_first_line(error)}: rendering needs OpenGL; set MUJOCO_GL=egl (with libegl1 '
                f'and libopengl0 installed) or MUJOCO_GL=osmesa (with libosmesa6) where there is '
                f'no display, or use render none'
            )

    def _draw_until_closed(self, env: gymnasium.Env) -> None:
        drawn = None
        while not self._closed.is_set():
            self._offered.wait(self._period_sec)
            self._offered.clear()
            newest = self._newest
            if newest is None or (newest is drawn and env.render_mode != 'human'):
                continue
            if newest is not drawn:
                show_state(env, newest[0])
                drawn = newest
            if _window_was_closed(env):
                return
            picture = env.render()
            if picture is not None:
                self._show(cast(np.ndarray, picture), newest[1])


class InlinePictures:
    """Draw environments without MuJoCo, whose state can't be copied, on the loop's own thread.

    With the render mode ``human`` such an environment draws itself at each step.
    """

    def __init__(
        self, *, show: Callable[[np.ndarray, int], None], fail: Callable[[str], None]
    ) -> None:
        """Hand pictures to ``show``, and the reason why there can be none to ``fail``."""
        self._show, self._fail = show, fail
        self._is_open = True

    def offer(self, env: gymnasium.Env, time_ns: int) -> None:
        """Draw ``env`` now."""
        if not self._is_open or env.render_mode == 'human':
            return
        # Environments differ in what they raise when a drawing library is missing.
        try:
            picture = env.render()
        except Exception as error:
            self.close()
            self._fail(f'{_first_line(error)}: install what it needs, or use render none')
            return
        self._show(cast(np.ndarray, picture), time_ns)

    def close(self) -> None:
        """Draw no more."""
        self._is_open = False


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f'no pictures ({type(error).__name__}: {lines[0] if lines else "no reason given"})'


def state_to_draw(env: gymnasium.Env) -> np.ndarray:
    """Return all that a picture of a MuJoCo environment depends on, for `show_state`."""
    simulation = cast(MujocoEnv, env.unwrapped)
    state = np.empty(mujoco.mj_stateSize(simulation.model, _STATE))
    mujoco.mj_getState(simulation.model, simulation.data, state, _STATE)
    return state


def show_state(env: gymnasium.Env, state: np.ndarray) -> None:
    """Let the next picture of ``env`` show ``state``, of the same MuJoCo environment."""
    simulation = cast(MujocoEnv, env.unwrapped)
    mujoco.mj_setState(simulation.model, simulation.data, state, _STATE)
    mujoco.mj_forward(simulation.model, simulation.data)


def follow_robot(env: gymnasium.Env) -> None:
    """Let camera and floor go along with the robot; call it before the first picture.

    That is the body that has the camera `_TRACKING_CAMERA`; models without one stay in the
    picture. Planes are drawn without an end, as they are for contacts anyway.
    """
    simulation = cast(MujocoEnv, env.unwrapped)
    camera = mujoco.mj_name2id(simulation.model, mujoco.mjtObj.mjOBJ_CAMERA, _TRACKING_CAMERA)
    if camera < 0:
        return
    renderer = simulation.mujoco_renderer
    # With a camera's number Gymnasium would set the type again at each picture.
    renderer.camera_id = None
    renderer.default_cam_config = {
        **(renderer.default_cam_config or {}),
        'type': mujoco.mjtCamera.mjCAMERA_TRACKING,
        'trackbodyid': int(simulation.model.cam_bodyid[camera]),
        'elevation': _ELEVATION_DEG,
    }
    model = simulation.model
    for plane in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        size, material = model.geom_size[plane, :2], model.geom_matid[plane]
        if material >= 0 and (size > 0).all():
            # Of a plane without an end the texture repeats by the metre.
            model.mat_texrepeat[material] /= 2.0 * size
        model.geom_size[plane, :2] = 0.0


def draw_plainly(env: gymnasium.Env) -> None:
    """Leave out shadows and the smoothing of edges; call it before the first picture.

    Without a graphics processor they take nine tenths of the time: 177 against 19 ms of CPU for a
    picture of Ant-v5 of 240 x 180 pixels, when it has 50 ms.
    """
    quality = cast(MujocoEnv, env.unwrapped).model.vis.quality
    quality.shadowsize = quality.offsamples = 0


def _window_was_closed(env: gymnasium.Env) -> bool:
    if env.render_mode != 'human':
        return False
    import glfw  # needs a display's libraries; only a window does

    window = getattr(cast(MujocoEnv, env.unwrapped).mujoco_renderer.viewer, 'window', None)
    return window is not None and bool(glfw.window_should_close(window))
