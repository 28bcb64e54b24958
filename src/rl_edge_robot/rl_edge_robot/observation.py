"""The policy's observation, term by term, from what the sensors said last."""

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from rl_edge_robot.description import ObservationTerm, RobotDescription
from rl_edge_robot.sensors import Sensors, rotation

Measure = Callable[[Sensors, np.ndarray], Sequence[float]]
"""Returns the values of a term, from the sensors and the previous action."""


class ObservationBuilder:
    """Build observations; terms with a history start with their first value repeated."""

    def __init__(self, description: RobotDescription) -> None:
        """Build what ``description`` lists, in its order."""
        terms = description.observation
        self._measures = [_measure_of(term) for term in terms]
        sizes = [len(term.own_signals()) for term in terms]
        self._offset = _of_each(sizes, [term.offset or 0.0 for term in terms])
        self._scale = _of_each(sizes, [term.scale for term in terms])
        self._clip = _of_each(sizes, [term.clip for term in terms])
        self._is_as_measured = all(
            not any(term.offset) and (term.scale, term.clip, term.history) == (1.0, math.inf, 1)
            for term in terms
        )
        self._longest = max(term.history for term in terms)
        self._latest: deque[np.ndarray] = deque(maxlen=self._longest)
        """The values of all terms at the latest moments, the oldest first."""
        places = np.arange(self._longest * sum(sizes)).reshape(self._longest, -1)
        of_terms = np.split(places, np.cumsum(sizes)[:-1], axis=1)
        self._places = np.concatenate(
            [each[-term.history :].ravel() for term, each in zip(terms, of_terms, strict=True)]
        )
        """Where in `_latest`, as one array, each value of an observation is."""

    def restart(self) -> None:
        """Forget the histories: an episode begins."""
        self._latest.clear()

    def build(self, sensors: Sensors, previous_action: np.ndarray) -> np.ndarray:
        """Return the observation, float32, and keep its values for the histories.

        ``previous_action`` is the policy's, shape (action_size,).
        """
        measured: list[float] = []
        for measure in self._measures:
            measured.extend(measure(sensors, previous_action))
        if self._is_as_measured:
            return np.array(measured, np.float32)
        values = (np.array(measured) - self._offset) * self._scale
        values = np.minimum(np.maximum(values, -self._clip), self._clip)
        self._latest.append(values)
        while len(self._latest) < self._longest:
            self._latest.append(values)
        return np.concatenate(self._latest)[self._places].astype(np.float32)


def _of_each(sizes: Sequence[int], values: Sequence[float | tuple[float, ...]]) -> np.ndarray:
    """Return one value per signal, where a term has one for all of its own or one for each."""
    return np.concatenate(list(map(np.broadcast_to, values, sizes)))


def _measure_of(term: ObservationTerm) -> Measure:
    joints = term.joints
    if term.term == 'joint_position':
        return lambda sensors, _: [sensors.positions[joint] for joint in joints]
    if term.term == 'joint_velocity':
        return lambda sensors, _: [sensors.velocities[joint] for joint in joints]
    if term.term == 'linear_velocity' and term.frame == 'world':
        return _velocity_in_world
    if term.term == 'constant':
        values = [term.value] * len(term.names)
        return lambda sensors, _: values
    return _MEASURES[term.term]


def _velocity_in_world(sensors: Sensors, _: np.ndarray) -> Sequence[float]:
    x, y, z = sensors.linear_velocity
    rows = rotation(sensors.odometry_orientation)
    return [row[0] * x + row[1] * y + row[2] * z for row in rows]


_MEASURES: dict[str, Measure] = {
    'orientation': lambda sensors, _: sensors.orientation,
    # The direction of gravity as the base sees it: (0, 0, -1) when it stands upright.
    'projected_gravity': lambda sensors, _: [-up for up in rotation(sensors.orientation)[2]],
    'angular_velocity': lambda sensors, _: sensors.angular_velocity,
    'linear_velocity': lambda sensors, _: sensors.linear_velocity,
    'height': lambda sensors, _: sensors.position[2:],
    'commanded_velocity': lambda sensors, _: sensors.command,
    'previous_action': lambda sensors, action: action.tolist(),
}
