"""The policy's observation, term by term, from what the sensors said last."""

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from rl_edge_robot.description import ObservationTerm, RobotDescription
from rl_edge_robot.sensors import Sensors, rotation

Measure = Callable[[Sensors, np.ndarray], Sequence[float] | np.ndarray]
"""Returns the values of a term, from the sensors and the previous action."""


class ObservationBuilder:
    """Build observations; terms with a history start with their first value repeated."""

    def __init__(self, description: RobotDescription) -> None:
        """Build what ``description`` lists, in its order."""
        self._terms = [
            (term, _measure_of(term), deque[np.ndarray](maxlen=term.history))
            for term in description.observation
        ]
        self._size = sum(len(term.signals()) for term in description.observation)

    def restart(self) -> None:
        """Forget the histories: an episode begins."""
        for _, _, history in self._terms:
            history.clear()

    def build(self, sensors: Sensors, previous_action: np.ndarray) -> np.ndarray:
        """Return the observation, float32, and keep its values for the histories.

        ``previous_action`` is the policy's, shape (action_size,).
        """
        built = np.empty(self._size, np.float32)
        end = 0
        for term, measure, history in self._terms:
            values = np.asarray(measure(sensors, previous_action))
            if term.offset:
                values = values - np.array(term.offset)
            if term.scale != 1.0:
                values = values * term.scale
            if term.clip < math.inf:
                values = np.clip(values, -term.clip, term.clip)
            history.append(values)
            while len(history) < term.history:
                history.append(values)
            for each in history:
                begin, end = end, end + len(each)
                built[begin:end] = each
        return built


def _measure_of(term: ObservationTerm) -> Measure:
    if term.term == 'joint_position':
        return lambda sensors, _: [sensors.positions[joint] for joint in term.joints]
    if term.term == 'joint_velocity':
        return lambda sensors, _: [sensors.velocities[joint] for joint in term.joints]
    if term.term == 'linear_velocity' and term.frame == 'world':
        return lambda sensors, _: rotation(sensors.odometry_orientation) @ sensors.linear_velocity
    if term.term == 'constant':
        values = np.full(len(term.names), term.value)
        return lambda sensors, _: values
    return _MEASURES[term.term]


_MEASURES: dict[str, Measure] = {
    'orientation': lambda sensors, _: sensors.orientation,
    # The direction of gravity as the base sees it: (0, 0, -1) when it stands upright.
    'projected_gravity': lambda sensors, _: -rotation(sensors.orientation)[2],
    'angular_velocity': lambda sensors, _: sensors.angular_velocity,
    'linear_velocity': lambda sensors, _: sensors.linear_velocity,
    'height': lambda sensors, _: sensors.position[2:],
    'commanded_velocity': lambda sensors, _: sensors.command,
    'previous_action': lambda sensors, action: action,
}
