"""From the policy's action to the command that a robot may be sent."""

import math
from collections.abc import Sequence

import numpy as np

from rl_edge_robot.description import RobotDescription


class Commands:
    """Scale, smooth and limit actions. Whatever comes in, what goes out is within the limits.

    Commands are plain numbers, in the order of the description's action joints: for so few,
    arrays cost several times as much.
    """

    def __init__(self, description: RobotDescription) -> None:
        """Start without a last command: the first one is not limited in its change."""
        action = description.action
        self._joints = action.joints
        self.names = tuple(joint.joint for joint in action.joints)
        self._stop = description.safety.stop
        self._default = [joint.default for joint in action.joints]
        self._limits_change = any(math.isfinite(j.largest_change) for j in action.joints)
        self._low_pass = action.low_pass
        self._ramp_from: Sequence[float] = self._default
        self.last: Sequence[float] | None = None
        """What was sent last; None before the first."""

    def for_action(self, action: np.ndarray) -> Sequence[float]:
        """Return the command for the policy's action, shape (action_size,), and keep it as sent.

        A value that is not finite leads to the safe command.
        """
        values = zip(action.tolist(), self._joints, strict=True)
        wanted = [value * joint.scale + joint.offset for value, joint in values]
        if not all(map(math.isfinite, wanted)):
            return self.safe()
        if self.last is not None and self._low_pass < 1.0:
            wanted = _on_the_way(self.last, wanted, self._low_pass)
        return self._changed_to(wanted)

    def safe(self) -> Sequence[float]:
        """Return the safe command at once, whatever change that is, and keep it as sent."""
        if self._stop == 'hold' and self.last is not None:
            return self._sent(self.last)
        if self._stop == 'zero':
            return self._sent([0.0] * len(self._joints))
        return self._sent(self._default)

    def begin_ramp(self, positions: Sequence[float]) -> None:
        """Begin a ramp where the joints are, whatever was sent last."""
        self._ramp_from = self._sent(positions)

    def ramp(self, share: float) -> Sequence[float]:
        """Return the command ``share`` (0 to 1) of the way from the ramp's begin to the defaults.

        It changes by no more than the largest change, however short the ramp is.
        """
        share = _limited(share, 0.0, 1.0)
        return self._changed_to(_on_the_way(self._ramp_from, self._default, share))

    def _changed_to(self, wanted: Sequence[float]) -> Sequence[float]:
        if self.last is not None and self._limits_change:
            changes = zip(self.last, wanted, self._joints, strict=True)
            wanted = [
                last + _limited(value - last, -joint.largest_change, joint.largest_change)
                for last, value, joint in changes
            ]
        return self._sent(wanted)

    def _sent(self, wanted: Sequence[float]) -> Sequence[float]:
        values = zip(wanted, self._joints, strict=True)
        self.last = [_limited(value, joint.low, joint.high) for value, joint in values]
        return self.last


def _limited(value: float, low: float, high: float) -> float:
    return low if value < low else high if value > high else value


def _on_the_way(begin: Sequence[float], end: Sequence[float], share: float) -> list[float]:
    return [a + share * (b - a) for a, b in zip(begin, end, strict=True)]
