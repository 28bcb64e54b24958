"""Positions and velocities of the joints that viewers draw: those of one degree of freedom."""

from dataclasses import dataclass
from typing import cast

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv

_ONE_DEGREE = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))


@dataclass(frozen=True)
class JointReader:
    """Read the hinges (rad, rad/s) and slides (m, m/s) of a MuJoCo environment."""

    names: tuple[str, ...]
    _positions: np.ndarray
    """Indices in qpos."""
    _velocities: np.ndarray
    """Indices in qvel."""

    def read(self, env: gymnasium.Env) -> tuple[list[float], list[float]]:
        """Return the present positions and velocities, in the order of ``names``."""
        data = cast(MujocoEnv, env.unwrapped).data
        return data.qpos[self._positions].tolist(), data.qvel[self._velocities].tolist()


def joint_reader(env: gymnasium.Env) -> JointReader:
    """Return the reader of a MuJoCo environment's joints."""
    model = cast(MujocoEnv, env.unwrapped).model
    joints = [joint for joint in range(model.njnt) if model.jnt_type[joint] in _ONE_DEGREE]
    return JointReader(
        names=tuple(model.joint(joint).name or f'joint_{joint}' for joint in joints),
        _positions=model.jnt_qposadr[joints],
        _velocities=model.jnt_dofadr[joints],
    )
