"""An observer of a robot that keeps its transitions and statuses as well, for tests."""

from __future__ import annotations

from rclpy.serialization import deserialize_message

from rl_edge_core.ros import qos
from rl_edge_experiments.observer import Observer
from rl_edge_interfaces.msg import PolicyStatus, Transition

TRANSITION_DEPTH = 20_000
"""A watcher counts what is lost, and must not be who loses it when others keep it from running:
a fast loop makes 5,000 transitions per second."""


class Watcher(Observer):
    """Transitions arrive serialized and are decoded only when asked for.

    Watching costs little so while the loop runs.
    """

    def __init__(
        self, namespace: str, *, domain_id: int | None = None, transitions: bool = True
    ) -> None:
        """Start to watch ``namespace`` in a ROS domain (None: ROS_DOMAIN_ID)."""
        self._raw: list[bytes] = []
        self.statuses: list[PolicyStatus] = []
        super().__init__(namespace, domain_id=domain_id)
        self._on_thread(lambda: self._watch(transitions))

    def _watch(self, transitions: bool) -> None:
        def keep(raw: bytes) -> None:
            with self._changed:
                self._raw.append(raw)
                self._changed.notify_all()

        if transitions:
            profile = qos.transition()
            profile.depth = TRANSITION_DEPTH
            self._node.create_subscription(Transition, 'transition', keep, profile, raw=True)
        self._keep(PolicyStatus, 'policy_status', qos.policy_status(), self.statuses)

    @property
    def transition_count(self) -> int:
        """Return how many transitions have arrived."""
        return len(self._raw)

    def transitions(self) -> list[Transition]:
        """Return the transitions that have arrived, in order."""
        return [deserialize_message(raw, Transition) for raw in list(self._raw)]

    def latest(self, count: int) -> list[Transition]:
        """Return the newest ``count`` transitions, in order."""
        return [deserialize_message(raw, Transition) for raw in self._raw[-count:]]
