"""Ask the policy of one robot for its state: exit code 0 when it answers observations.

It reads the transient-local topic policy_status, so a policy that runs answers at once.
"""

from collections.abc import Sequence

from rclpy.task import Future

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos
from rl_edge_core.ros.start import own_node
from rl_edge_core.wording import counted
from rl_edge_interfaces.msg import PolicyStatus
from rl_edge_policy.commands import robot_namespace

_USAGE = """usage: {prog} health [TIMEOUT_SEC]

0 when the policy of the robot that RL_EDGE_NAMESPACE names (ant0 by default) answers observations,
else 1 and the reason."""
DEFAULT_TIMEOUT_SEC = 5.0
STATES = {
    PolicyStatus.UNCONFIGURED: 'unconfigured',
    PolicyStatus.INACTIVE: 'inactive',
    PolicyStatus.ACTIVE: 'active',
    PolicyStatus.REFUSING: 'refusing',
    PolicyStatus.FAILED: 'failed',
    PolicyStatus.FINALIZED: 'finalized',
}
_STARTING = (PolicyStatus.UNCONFIGURED, PolicyStatus.INACTIVE)


def latest_status(namespace: str, timeout_sec: float) -> PolicyStatus | None:
    """Return the status of the policy in ``namespace``; None when none comes in time.

    A policy that is still starting is waited for; when it takes longer, that is its status.
    """
    latest: PolicyStatus | None = None
    has_started: Future = Future()

    def take(message: PolicyStatus) -> None:
        nonlocal latest
        latest = message
        if message.state not in _STARTING and not has_started.done():
            has_started.set_result(True)

    with own_node('policy_health', namespace=namespace) as (node, executor):
        node.create_subscription(PolicyStatus, 'policy_status', take, qos.policy_status())
        executor.spin_until_future_complete(has_started, timeout_sec=timeout_sec)
    return latest


def main(words: Sequence[str], prog: str) -> int:
    """Print one line and return the exit code."""
    if any(word in ('-h', '--help') for word in words):
        print(_USAGE.format(prog=prog))
        return 0
    try:
        timeout_sec = float(words[0]) if words else DEFAULT_TIMEOUT_SEC
    except ValueError:
        raise ConfigurationError(f'{words[0]!r} is not a time in s, e.g. 5') from None
    namespace = robot_namespace()
    status = latest_status(namespace, timeout_sec)
    if status is None:
        print(f'no policy in {namespace} answered within {timeout_sec:g} s')
        return 1
    print(
        f'{STATES.get(status.state, status.state)}: {status.model_id} ({status.runtime}), '
        f'{counted(status.actions, "action")}{"; " + status.reason if status.reason else ""}'
    )
    return 0 if status.state == PolicyStatus.ACTIVE else 1
