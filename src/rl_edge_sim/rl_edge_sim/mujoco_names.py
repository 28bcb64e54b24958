"""Names and units of what a MuJoCo environment observes and drives, read from its model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv

Signals = list[tuple[str, str]]
"""(name, unit) of each value."""

_AXES = ('x', 'y', 'z')
_FREE, _BALL, _SLIDE, _HINGE = (
    int(kind)
    for kind in (
        mujoco.mjtJoint.mjJNT_FREE,
        mujoco.mjtJoint.mjJNT_BALL,
        mujoco.mjtJoint.mjJNT_SLIDE,
        mujoco.mjtJoint.mjJNT_HINGE,
    )
)


def _spatial(first: tuple[str, str], second: tuple[str, str]) -> Signals:
    return [(f'{name}_{axis}', unit) for name, unit in (first, second) for axis in _AXES]


_QUATERNION: Signals = [('qw', '1'), ('qx', '1'), ('qy', '1'), ('qz', '1')]
_OF_JOINTS: Mapping[str, Mapping[int, Signals]] = {
    'qpos': {
        _FREE: [('x', 'm'), ('y', 'm'), ('z', 'm'), *_QUATERNION],
        _BALL: _QUATERNION,
        _HINGE: [('angle', 'rad')],
        _SLIDE: [('position', 'm')],
    },
    'qvel': {
        _FREE: _spatial(('velocity', 'm/s'), ('angular_velocity', 'rad/s')),
        _BALL: [(f'angular_velocity_{axis}', 'rad/s') for axis in _AXES],
        _HINGE: [('angular_velocity', 'rad/s')],
        _SLIDE: [('velocity', 'm/s')],
    },
    'qfrc_actuator': {
        _FREE: _spatial(('force', 'N'), ('torque', 'N m')),
        _BALL: [(f'torque_{axis}', 'N m') for axis in _AXES],
        _HINGE: [('torque', 'N m')],
        _SLIDE: [('force', 'N')],
    },
}
"""What an observed part has of a joint, by the joint's kind."""
_OF_BODIES: Mapping[str, tuple[str, Signals]] = {
    'cinert': (
        'inertia',
        [
            *[(f'inertia_{axes}', 'kg m^2') for axes in ('xx', 'yy', 'zz', 'xy', 'xz', 'yz')],
            *[(f'mass_offset_{axis}', 'kg m') for axis in _AXES],
            ('mass', 'kg'),
        ],
    ),
    'cvel': ('velocity', _spatial(('angular', 'rad/s'), ('linear', 'm/s'))),
    'cfrc_ext': ('contact', _spatial(('torque', 'N m'), ('force', 'N'))),
}
"""What an observed part has of a body, below a name of its own."""


def is_mujoco(env: gymnasium.Env) -> bool:
    """Return whether ``env`` is, under its wrappers, one of Gymnasium's MuJoCo environments."""
    return isinstance(env.unwrapped, MujocoEnv)


@dataclass(frozen=True)
class JointReader:
    """Read the joints that viewers draw: hinges (rad, rad/s) and slides (m, m/s)."""

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
    joints = [joint for joint in range(model.njnt) if model.jnt_type[joint] in (_HINGE, _SLIDE)]
    return JointReader(
        names=tuple(joint_name(model, joint) for joint in joints),
        _positions=model.jnt_qposadr[joints],
        _velocities=model.jnt_dofadr[joints],
    )


class BaseState(NamedTuple):
    """Where the base of a robot is and how it moves, as its sensors would say it."""

    position: tuple[float, float, float]
    """In the world, m."""
    orientation: tuple[float, float, float, float]
    """(w, x, y, z)."""
    linear_velocity: tuple[float, float, float]
    """In the base's frame, m/s."""
    angular_velocity: tuple[float, float, float]
    """In the base's frame, rad/s."""
    acceleration: tuple[float, float, float]
    """What an accelerometer measures, in the base's frame: upwards 9.81 m/s^2 at rest."""


@dataclass(frozen=True)
class BaseReader:
    """Read the body that moves freely."""

    name: str
    _position: int
    """Index of its first value in qpos."""
    _velocity: int
    """Index of its first value in qvel."""

    def read(self, env: gymnasium.Env) -> BaseState:
        """Return its present state."""
        simulation = cast(MujocoEnv, env.unwrapped)
        data, q, v = simulation.data, self._position, self._velocity
        orientation, to_base = data.qpos[q + 3 : q + 7].copy(), np.empty(9)
        if abs(orientation @ orientation - 1.0) > 1e-9:
            mujoco.mju_normalize4(orientation)  # Gymnasium begins with noise on it
        mujoco.mju_quat2Mat(to_base, orientation)
        to_base = to_base.reshape(3, 3).T
        force = data.qacc[v : v + 3] - simulation.model.opt.gravity
        return BaseState(
            position=tuple(data.qpos[q : q + 3].tolist()),
            orientation=tuple(orientation.tolist()),
            linear_velocity=tuple((to_base @ data.qvel[v : v + 3]).tolist()),
            angular_velocity=tuple(data.qvel[v + 3 : v + 6].tolist()),
            acceleration=tuple((to_base @ force).tolist()),
        )


def base_of(env: gymnasium.Env) -> BaseReader | None:
    """Return the reader of the first body with a free joint; None where all are attached."""
    model = cast(MujocoEnv, env.unwrapped).model
    for joint in range(model.njnt):
        if model.jnt_type[joint] == _FREE:
            return BaseReader(
                body_name(model, int(model.jnt_bodyid[joint])),
                int(model.jnt_qposadr[joint]),
                int(model.jnt_dofadr[joint]),
            )
    return None


def actuator_scales(env: gymnasium.Env) -> np.ndarray:
    """Return what an action of 1 stands for, per actuator: N m or N of motors, 1 of others."""
    model = cast(MujocoEnv, env.unwrapped).model
    return np.array(
        [
            float(model.actuator_gainprm[i, 0] * model.actuator_gear[i, 0])
            if _action_unit(model, i) != '1'
            else 1.0
            for i in range(model.nu)
        ]
    )


def observation_signals(env: gymnasium.Env) -> Signals | None:
    """Return the name and unit of each observation value; None where they can't be known.

    They are known when the environment lists its parts in ``observation_structure`` (Gymnasium's
    v5) or observes positions and velocities alone. Contact forces begin with ``contact.``.
    """
    simulation = cast(MujocoEnv, env.unwrapped)
    size = env.observation_space.shape[0]  # type: ignore[index]
    structure = getattr(simulation, 'observation_structure', None)
    if structure is None:
        structure = _positions_and_velocities(simulation, size)
    signals: Signals = []
    for part, count in structure.items():
        if part == 'skipped_qpos' or not count:
            continue
        values = _signals_of_part(simulation.model, part)
        # Where fewer are observed than there are, Gymnasium leaves out the first.
        signals += values[len(values) - count :]
    names = {name for name, _ in signals}
    return signals if len(signals) == size == len(names) else None


def action_signals(env: gymnasium.Env) -> Signals | None:
    """Return the name and unit of each action value: the joint that it drives.

    The unit is what an action of 1 stands for, so ``150 N m`` where the gear is 150.
    """
    model = cast(MujocoEnv, env.unwrapped).model
    if env.action_space.shape != (model.nu,):
        return None
    signals = [(_driven_joint(model, i), _action_unit(model, i)) for i in range(model.nu)]
    return signals if len({name for name, _ in signals}) == model.nu else None


def position_names(model: Any) -> list[str]:
    """Return the name of each value of ``qpos``, as observations have it."""
    return [name for name, _ in _signals_of_part(model, 'qpos')]


def _positions_and_velocities(simulation: MujocoEnv, size: int) -> dict[str, int]:
    # Asked of the environment itself: with known positions and velocities, does it return them?
    data, skipped = simulation.data, simulation.model.nq + simulation.model.nv - size
    if not 0 <= skipped <= simulation.model.nq or not hasattr(simulation, '_get_obs'):
        return {}
    saved = data.qpos.copy(), data.qvel.copy()
    generator = np.random.default_rng(0)
    data.qpos[:], data.qvel[:] = (generator.uniform(-1, 1, part.size) for part in saved)
    expected = np.concatenate([data.qpos[skipped:], data.qvel])
    observed = np.asarray(simulation._get_obs())
    data.qpos[:], data.qvel[:] = saved
    if not np.array_equal(observed, expected):
        return {}
    return {'qpos': simulation.model.nq - skipped, 'qvel': simulation.model.nv}


def _signals_of_part(model: Any, part: str) -> Signals:
    if part in _OF_JOINTS:
        return [
            (f'{_owner(model, joint, part)}.{component}', unit)
            for joint in range(model.njnt)
            for component, unit in _OF_JOINTS[part][int(model.jnt_type[joint])]
        ]
    prefix, signals = _OF_BODIES.get(part, ('', []))
    return [
        (f'{prefix}.{body_name(model, body)}.{component}', unit)
        for body in range(1, model.nbody)  # 0 is the world
        for component, unit in signals
    ]


def _owner(model: Any, joint: int, part: str) -> str:
    """Return whose values a joint has in a part: a free joint's are those of its body."""
    if part == 'qfrc_actuator':
        return f'actuator.{joint_name(model, joint)}'
    if int(model.jnt_type[joint]) == _FREE:
        return body_name(model, int(model.jnt_bodyid[joint]))
    return joint_name(model, joint)


def joint_name(model: Any, joint: int) -> str:
    """Return the name of a joint, by its number where it has none."""
    return model.joint(joint).name or f'joint_{joint}'


def body_name(model: Any, body: int) -> str:
    """Return the name of a body; one without, such as the Ant's feet, goes by its joint."""
    if model.body(body).name:
        return str(model.body(body).name)
    has_joint = model.body_jntnum[body] > 0
    return joint_name(model, int(model.body_jntadr[body])) if has_joint else f'body_{body}'


def _is_joint_drive(model: Any, actuator: int) -> bool:
    kinds = (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT)
    return int(model.actuator_trntype[actuator]) in [int(kind) for kind in kinds]


def _driven_joint(model: Any, actuator: int) -> str:
    if _is_joint_drive(model, actuator):
        return joint_name(model, int(model.actuator_trnid[actuator, 0]))
    return model.actuator(actuator).name or f'actuator_{actuator}'


def _action_unit(model: Any, actuator: int) -> str:
    is_motor = (
        model.actuator_gaintype[actuator] == mujoco.mjtGain.mjGAIN_FIXED
        and model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_NONE
        and model.actuator_dyntype[actuator] == mujoco.mjtDyn.mjDYN_NONE
    )
    if not is_motor or not _is_joint_drive(model, actuator):
        return '1'
    kind = int(model.jnt_type[model.actuator_trnid[actuator, 0]])
    unit = {_HINGE: 'N m', _SLIDE: 'N'}.get(kind)
    if unit is None:
        return '1'
    scale = float(model.actuator_gainprm[actuator, 0] * model.actuator_gear[actuator, 0])
    return unit if scale == 1.0 else f'{scale:g} {unit}'
