"""Policies that misbehave: our node is held, and an impostor answers in its place."""

import contextlib
from array import array
from collections.abc import Callable, Iterator

from rl_edge_core.ros import qos
from rl_edge_experiments.faults.fault import BOTH, COUNTED, REALTIME, STANDS_IN, Fault
from rl_edge_experiments.rig import FaultFailedError, Rig
from rl_edge_interfaces.msg import Action, Observation


def silent_policy(rig: Rig) -> str:
    """Put a policy that never answers in the place of ours."""
    with _impostor(rig, lambda observation: ()):
        if rig.mode == REALTIME:
            rig.wait_for('the safe action', lambda: all(t.safe_action for t in rig.latest(10)))
            happened = 'the safe action stood in'
        else:
            happened = repr(rig.wait_for_report('sim', 'the policy is silent'))
    rig.wait_until_steady()
    return f'{happened}; goes on with a policy that answers'


def doubly_answering_policy(rig: Rig) -> str:
    """Put a policy that answers each observation twice in the place of ours."""
    return _with_counted_impostor(rig, lambda o: (_answer(o), _answer(o)), 'duplicate_actions')


def confused_policy(rig: Rig) -> str:
    """Put a policy in the place of ours that answers for another robot first."""

    def answer(observation: Observation) -> tuple[Action, ...]:
        other = _answer(observation)
        other.run_id ^= 1
        return other, _answer(observation)

    return _with_counted_impostor(rig, answer, 'foreign_actions')


def nan_policy(rig: Rig) -> str:
    """Put a policy that answers NaN in the place of ours."""

    def answer(observation: Observation) -> tuple[Action, ...]:
        action = _answer(observation)
        action.values = array('f', [float('nan')])
        return (action,)

    with _impostor(rig, answer):
        rig.wait_for('the safe action', lambda: all(t.safe_action for t in rig.latest(10)))
        report = rig.wait_for_report('sim', 'actions rejected')
    rig.wait_until_steady()
    return f'the safe action stood in: {report!r}'


def _with_counted_impostor(
    rig: Rig, answer: Callable[[Observation], tuple[Action, ...]], count: str
) -> str:
    with _impostor(rig, answer):
        rig.wait_for_episode()
        rig.wait_for_episode()
    rig.wait_until_steady()
    counted = rig.counts(count)
    if not counted:
        raise FaultFailedError(f'{count} is 0')
    return f'{counted} {count}, none applied'


def _answer(observation: Observation) -> Action:
    return Action(
        header=observation.header,
        run_id=observation.run_id,
        episode=observation.episode,
        step=observation.step,
        values=array('f', [0.25]),
        model_hash='impostor',
    )


@contextlib.contextmanager
def _impostor(rig: Rig, answer: Callable[[Observation], tuple[Action, ...]]) -> Iterator[None]:
    """Hold our policy and answer in its place."""
    observer = rig.observer
    with observer.publisher(Action, 'action', qos.action()) as publisher:

        def on_observation(observation: Observation) -> None:
            for action in answer(observation):
                publisher.publish(action)

        with (
            rig.stopped(rig.policy, 'policy'),
            observer.subscribed(Observation, 'observation', on_observation, qos.observation()),
        ):
            yield


IMPOSTOR_FAULTS = (
    Fault('policy that never answers', BOTH, STANDS_IN, silent_policy),
    Fault('policy that answers twice', BOTH, COUNTED, doubly_answering_policy),
    Fault('policy that answers for another robot', BOTH, COUNTED, confused_policy),
    Fault('policy that answers NaN', BOTH, 'the safe action stands in, reported', nan_policy),
)
