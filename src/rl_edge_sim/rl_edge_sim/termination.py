"""Why an environment ended an episode: which of its limits the state has left."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco
import numpy as np

from rl_edge_sim.mujoco_names import is_mujoco

TERMINATED = 'terminated'
"""Where the environment does not tell, and its limits are not known."""
REASON_KEY = 'termination_reason'
"""Key of ``info`` under which an environment of one's own may tell why it ended an episode."""


def termination_reason(env: gymnasium.Env, info: Mapping[str, Any]) -> str:
    """Return why ``env`` has just ended an episode, before any reset.

    What the environment says in ``info['termination_reason']`` counts. For Gymnasium's MuJoCo
    robots the limit that the state has left is named: ``torso too high``, ``torso too low``,
    ``torso angle out of limits``, ``state not finite`` or ``state out of limits``. Others are
    ``terminated``.
    """
    said = info.get(REASON_KEY)
    if isinstance(said, str) and said:
        return said
    if not is_mujoco(env):
        return TERMINATED
    robot: Any = env.unwrapped
    state = np.concatenate([robot.data.qpos, robot.data.qvel])
    if not np.isfinite(state).all():
        return 'state not finite'
    free = robot.model.njnt and robot.model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    height, angle = (state[2], None) if free else state[1:3]
    low, high = getattr(robot, '_healthy_z_range', (-np.inf, np.inf))
    if height > high:
        return 'torso too high'
    if height < low:
        return 'torso too low'
    low, high = getattr(robot, '_healthy_angle_range', (-np.inf, np.inf))
    if angle is not None and not low < angle < high:
        return 'torso angle out of limits'
    return 'state out of limits' if hasattr(robot, '_healthy_state_range') else TERMINATED
