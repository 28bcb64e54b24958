"""The policy's observation, term by term, from what the sensors said last."""

import math
from collections import deque
from collections.abc import Callable

import numpy as np

from rl_edge_robot.description import ObservationTerm, RobotDescription
from rl_edge_robot.sensors import Sensors, rotation


class ObservationBuilder:
    """Build observations; terms with a history start with their first value repeated."""

    def __init__(self, description: RobotDescription) -> None:
        """Build what ``description`` lists, in its order."""
        self._terms = [(term, deque(maxlen=term.history)) for term in description.observation]  # type: ignore[var-annotated]
        self._actions = len(description.action.joints)

    def restart(self) -> None:
        """Forget the histories: an episode begins."""
        for _, history in self._terms:
            history.clear()

    def build(self, sensors: Sensors, previous_action: np.ndarray) -> np.ndarray:
        """Return the observation, float32, and keep its values for the histories.

        ``previous_action`` is the policy's, shape (action_size,).
        """
        parts: list[np.ndarray] = []
        for term, history in self._terms:
            values = _MEASURED[term.term](term, sensors, previous_action)
            if term.offset:
                values = values - np.array(term.offset)
            if term.scale != 1.0:
                values = values * term.scale
            if term.clip < math.inf:
                values = np.clip(values, -term.clip, term.clip)
            history.append(values)
            while len(history) < term.history:
                history.append(values)
            parts.extend(history)
        return np.concatenate(parts).astype(np.float32)


def _linear_velocity(term: ObservationTerm, sensors: Sensors, _: np.ndarray) -> np.ndarray:
    velocity = sensors.linear_velocity
    if term.frame == 'body':
        return velocity
    return rotation(sensors.odometry_orientation) @ velocity


_Measured = Callable[[ObservationTerm, Sensors, np.ndarray], np.ndarray]
_MEASURED: dict[str, _Measured] = {
    'joint_position': lambda term, sensors, _: np.array(
        [sensors.positions[joint] for joint in term.joints]
    ),
    'joint_velocity': lambda term, sensors, _: np.array(
        [sensors.velocities[joint] for joint in term.joints]
    ),
    'orientation': lambda term, sensors, _: sensors.orientation,
    # The direction of gravity as the base sees it: (0, 0, -1) when it stands upright.
    'projected_gravity': lambda term, sensors, _: -rotation(sensors.orientation)[2],
    'angular_velocity': lambda term, sensors, _: sensors.angular_velocity,
    'linear_velocity': _linear_velocity,
    'height': lambda term, sensors, _: sensors.position[2:],
    'commanded_velocity': lambda term, sensors, _: sensors.command,
    'previous_action': lambda term, sensors, action: action,
    'constant': lambda term, sensors, _: np.full(len(term.names), term.value),
}
