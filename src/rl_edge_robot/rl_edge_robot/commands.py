"""From the policy's action to the command that a robot may be sent."""

from collections.abc import Sequence

import numpy as np

from rl_edge_robot.description import RobotDescription


class Commands:
    """Scale, smooth and limit actions. Whatever comes in, what goes out is within the limits.

    All values are in the order of the description's action joints.
    """

    def __init__(self, description: RobotDescription) -> None:
        """Start without a last command: the first one is not limited in its change."""
        action = description.action
        joints = action.joints
        self.names = tuple(joint.joint for joint in joints)
        self._stop = description.safety.stop
        self._scale = np.array([joint.scale for joint in joints])
        self._offset = np.array([joint.offset for joint in joints])
        self._low = np.array([joint.low for joint in joints])
        self._high = np.array([joint.high for joint in joints])
        self._largest_change = np.array([joint.largest_change for joint in joints])
        self._limits_change = bool(np.isfinite(self._largest_change).any())
        self._default = np.array([joint.default for joint in joints])
        self._low_pass = action.low_pass
        self._ramp_from = self._default
        self.last: np.ndarray | None = None
        """What was sent last, float64, shape (action_size,); None before the first."""

    def for_action(self, action: np.ndarray) -> np.ndarray:
        """Return the command for the policy's action, shape (action_size,), and keep it as sent.

        A value that is not finite leads to the safe command.
        """
        with np.errstate(over='ignore'):  # what overflows is not finite, and seen below
            wanted = np.asarray(action, np.float64) * self._scale + self._offset
        if not np.isfinite(wanted).all():
            return self.safe()
        if self.last is not None and self._low_pass < 1.0:
            wanted = self.last + self._low_pass * (wanted - self.last)
        return self._changed_to(wanted)

    def safe(self) -> np.ndarray:
        """Return the safe command at once, whatever change that is, and keep it as sent."""
        if self._stop == 'hold' and self.last is not None:
            return self._sent(self.last)
        if self._stop == 'zero':
            return self._sent(np.zeros_like(self._default))
        return self._sent(self._default)

    def begin_ramp(self, positions: Sequence[float]) -> None:
        """Begin a ramp where the joints are, whatever was sent last."""
        self._ramp_from = self._sent(np.array(positions, np.float64))

    def ramp(self, share: float) -> np.ndarray:
        """Return the command ``share`` (0 to 1) of the way from the ramp's begin to the defaults.

        It changes by no more than the largest change, however short the ramp is.
        """
        share = min(1.0, max(0.0, share))
        return self._changed_to(self._ramp_from + share * (self._default - self._ramp_from))

    def _changed_to(self, wanted: np.ndarray) -> np.ndarray:
        if self.last is not None and self._limits_change:
            step = np.clip(wanted - self.last, -self._largest_change, self._largest_change)
            wanted = self.last + step
        return self._sent(wanted)

    def _sent(self, wanted: np.ndarray) -> np.ndarray:
        # np.clip does the same at five times the cost.
        self.last = np.minimum(np.maximum(wanted, self._low), self._high)
        return self.last
