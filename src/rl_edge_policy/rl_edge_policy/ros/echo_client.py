"""A simulator without simulation: it sends one observation over and over, and times answers."""

import contextlib
import time
from collections.abc import Callable

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_environment, to_float32_field
from rl_edge_core.ros.start import own_node
from rl_edge_interfaces.msg import Action, Environment, Observation

_RUN_ID = 1
_LOOK_AGAIN_SEC, _ASK_AGAIN_SEC = 0.002, 0.5


class EchoClient(contextlib.AbstractContextManager['EchoClient']):
    """Ask a policy, or what stands in its place, in a namespace."""

    def __init__(self, namespace: str, spec: EnvironmentSpec, observation: np.ndarray) -> None:
        """Announce the environment; ``observation`` has shape (observation_size,)."""
        self._own = contextlib.ExitStack()
        node, self._executor = self._own.enter_context(
            own_node('echo_client', namespace=namespace)
        )
        environment = node.create_publisher(Environment, 'environment', qos.environment())
        self._publisher = node.create_publisher(Observation, 'observation', qos.observation())
        node.create_subscription(Action, 'action', self._on_action, qos.action())
        self._message = Observation(run_id=_RUN_ID, values=to_float32_field(observation))
        self._sent_ns = 0
        self._wanted = 0
        self._round_trips_ns: list[int] = []
        environment.publish(
            to_environment(spec, run_id=_RUN_ID, reward_term_names=(), mode='lockstep')
        )

    def __exit__(self, *_: object) -> None:
        self._own.close()

    def wait_for_first_action(
        self, timeout_sec: float, *, is_running: Callable[[], bool] = lambda: True
    ) -> float:
        """Return when the first action arrived, steady clock in s.

        Raise RlEdgeError if none does, or once what is asked no longer ``is_running``.
        """
        deadline = time.monotonic() + timeout_sec
        self._wanted = 1
        asked_sec = 0.0
        while not self._round_trips_ns:
            is_due = time.monotonic() - asked_sec > _ASK_AGAIN_SEC
            if is_due and self._publisher.get_subscription_count():
                asked_sec = time.monotonic()
                self._send()
            self._executor.spin_once(timeout_sec=_LOOK_AGAIN_SEC)
            if time.monotonic() > deadline:
                raise RlEdgeError(f'no action arrived in {timeout_sec} s')
            if not is_running():
                raise RlEdgeError('the policy node has ended: see what it says above')
        return (self._sent_ns + self._round_trips_ns[0]) / 1e9

    def measure(self, count: int, *, timeout_sec: float = 120.0) -> np.ndarray:
        """Return the time from observation to action in us, shape (count,).

        Each observation is sent as soon as the one before is answered.
        """
        self._round_trips_ns.clear()
        self._wanted = count
        deadline = time.monotonic() + timeout_sec
        self._send()
        while len(self._round_trips_ns) < count:
            self._executor.spin_once(timeout_sec=1.0)
            if time.monotonic() > deadline:
                raise RlEdgeError(
                    f'{len(self._round_trips_ns)} of {count} actions arrived in {timeout_sec} s'
                )
        return np.array(self._round_trips_ns) / 1e3

    def _send(self) -> None:
        self._message.step += 1
        self._sent_ns = time.monotonic_ns()
        self._publisher.publish(self._message)

    def _on_action(self, message: Action) -> None:
        now = time.monotonic_ns()
        if message.step != self._message.step or len(self._round_trips_ns) >= self._wanted:
            return
        self._round_trips_ns.append(now - self._sent_ns)
        if len(self._round_trips_ns) < self._wanted:
            self._send()
