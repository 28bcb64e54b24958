"""A lifecycle node that outlives transitions that are not possible and callbacks that raise."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from rl_edge_core.errors import RlEdgeError

Callback = Callable[[Any, LifecycleState], TransitionCallbackReturn]


class GuardedLifecycleNode(LifecycleNode):
    """Answer a transition that is not possible with success false.

    rclpy raises instead, which ends the process: a second ``activate``, or an id that does not
    start from the present state, is a caller's mistake and must not stop a robot.
    """

    def __init__(self, node_name: str, **kwargs: Any) -> None:
        super().__init__(node_name, **kwargs)
        service = self._service_change_state
        change_state = service.callback

        def checked(
            request: ChangeState.Request, response: ChangeState.Response
        ) -> ChangeState.Response:
            refusal = self._why_impossible(request.transition.id, request.transition.label)
            if not refusal:
                return change_state(request, response)
            self.get_logger().warning(f'refused: {refusal}')
            response.success = False
            return response

        service.callback = checked

    def _why_impossible(self, number: int, label: str) -> str:
        """Return why a transition can't be made from the present state; empty when it can."""
        possible = {entry[0]: entry[1] for entry in self._state_machine.available_transitions}
        if label in possible.values() if label else number in possible:
            return ''
        state = self._state_machine.current_state[1]
        names = ', '.join(f'{name} ({number})' for number, name in possible.items())
        return (
            f'no transition {repr(label) if label else number} starts from state {state}; '
            f'possible are {names or "none"}'
        )

    def transition_failed(self, reason: str) -> None:
        """Take note of a callback that raised; called before the node changes its state."""


def transition(callback: Callback) -> Callback:
    """Wrap a lifecycle callback: what it raises is logged, noted by the node and an ERROR.

    rclpy swallows it without a line. The node then goes through ``on_error`` to unconfigured.
    """

    @wraps(callback)
    def guarded(node: GuardedLifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return callback(node, state)
        except Exception as error:
            reason = str(error) if isinstance(error, RlEdgeError) else ''
            reason = reason or f'{type(error).__name__}: {error}'
            node.get_logger().error(f'{callback.__name__} failed: {reason}')
            node.transition_failed(reason)
            return TransitionCallbackReturn.ERROR

    return guarded
