"""Videos of simulated episodes: the states are kept while a policy acts, and drawn afterwards.

Run as a program (``python -m rl_edge_sim.video VIDEO FRAMES``) it draws a video, so that OpenGL is
loaded in a process of its own: the LLVM inside Mesa's software renderer and the one inside
TensorFlow crash each other.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.loop.events import StepEvent
from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_sim.mujoco_names import is_mujoco
from rl_edge_sim.rendering import follow_robot, show_state, state_to_draw
from rl_edge_sim.rollout import ActionOf, rollout

_NO_OPENGL = (
    'set MUJOCO_GL=egl (with libegl1 and libopengl0 installed) or MUJOCO_GL=osmesa (with '
    'libosmesa6) where there is no display'
)


@dataclass(frozen=True)
class Video:
    """What it takes to draw an episode."""

    environment_id: str
    environment_arguments: Mapping[str, Any]
    control_period_sec: float
    """Simulated time from one state to the next."""
    states: np.ndarray
    """After each step, shape (steps, state_size)."""
    forward_positions_m: np.ndarray
    """After each step, shape (steps,); NaN where the environment has none."""

    def part(self, *, begin_sec: float, seconds: float) -> 'Video':
        """Return what happened from ``begin_sec`` on; less where the episode ended before."""
        first = round(begin_sec / self.control_period_sec)
        kept = slice(first, first + max(1, round(seconds / self.control_period_sec)))
        if first >= len(self.states):
            raise ConfigurationError(
                f'the video begins at {begin_sec:g} s, but the episode lasts '
                f'{len(self.states) * self.control_period_sec:g} s'
            )
        return replace(
            self, states=self.states[kept], forward_positions_m=self.forward_positions_m[kept]
        )

    def save(self, path: Path) -> None:
        """Write it as plain arrays."""
        arguments = json.dumps(dict(self.environment_arguments))
        np.savez(path, **{**vars(self), 'environment_arguments': arguments})

    @staticmethod
    def load(path: Path) -> 'Video':
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return Video(
                str(arrays['environment_id']),
                json.loads(str(arrays['environment_arguments'])),
                float(arrays['control_period_sec']),
                arrays['states'],
                arrays['forward_positions_m'],
            )


def record_video(
    environment_id: str,
    policy: ActionOf,
    *,
    seed: int,
    environment_arguments: Mapping[str, Any] | None = None,
) -> Video:
    """Return the video of one whole episode; raise ConfigurationError for other than MuJoCo's."""
    arguments = dict(environment_arguments or {})
    env = make_environment(environment_id, **arguments)
    states: list[np.ndarray] = []
    positions: list[float] = []

    def keep(step: StepEvent) -> None:
        states.append(state_to_draw(env))
        positions.append(step.forward_position)

    try:
        if not is_mujoco(env):
            raise ConfigurationError(
                f'{environment_id} is not a MuJoCo environment: only those can be recorded, such '
                f'as Ant-v5 and InvertedPendulum-v5'
            )
        period_sec = spec_of(env).control_period_sec
        rollout(env, policy, [seed], keep)
    finally:
        env.close()
    return Video(environment_id, arguments, period_sec, np.array(states), np.array(positions))


def drawing_environment() -> dict[str, str]:
    """Return this process's variables, with EGL chosen where nobody chose and no display is."""
    variables = dict(os.environ)
    if not variables.get('DISPLAY') and not variables.get('WAYLAND_DISPLAY'):
        variables.setdefault('MUJOCO_GL', 'egl')
    return variables


def draw_frames(video: Video, *, width: int, height: int) -> np.ndarray:
    """Return the frames of all states, uint8 of shape (steps, height, width, 3).

    Drawn in a process of its own. Raise RlEdgeError, with the remedy, where there is no OpenGL.
    """
    with tempfile.TemporaryDirectory(prefix='rl_edge_video-') as folder:
        source, target = Path(folder) / 'video.npz', Path(folder) / 'frames.npy'
        video.save(source)
        command = [sys.executable, '-m', 'rl_edge_sim.video', str(source), str(target)]
        done = subprocess.run(
            [*command, str(width), str(height)],
            env=drawing_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            reason = lines[-1] if lines else f'it ended with exit code {done.returncode}'
            raise RlEdgeError(f'the video cannot be drawn: {reason}; {_NO_OPENGL}')
        return cast(np.ndarray, np.load(target, allow_pickle=False))


def _draw(video: Video, *, width: int, height: int) -> np.ndarray:
    env = make_environment(
        video.environment_id,
        render_mode='rgb_array',
        width=width,
        height=height,
        **video.environment_arguments,
    )
    try:
        follow_robot(env)
        env.reset(seed=0)
        frames = np.empty((len(video.states), height, width, 3), np.uint8)
        for frame, state in zip(frames, video.states, strict=True):
            show_state(env, state)
            frame[:] = env.render()
        return frames
    finally:
        env.close()


if __name__ == '__main__':
    _source, _target, _width, _height = sys.argv[1:]
    _frames = _draw(Video.load(Path(_source)), width=int(_width), height=int(_height))
    np.save(_target, _frames)
