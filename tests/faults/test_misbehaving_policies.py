"""Policies that misbehave: ours is stopped, and another one answers in its place."""

import contextlib
from array import array
from collections.abc import Callable, Iterator

import pytest
from fault_loop import FaultLoop

from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import Action, Observation

STANDS_IN = 'reported; lockstep waits, in real time the safe action is applied instead; recovery'
COUNTED = 'counted, never applied; the loop runs on'


@contextlib.contextmanager
def replaced_policy(
    loop: FaultLoop, answer: Callable[[Observation], tuple[Action, ...]]
) -> Iterator[None]:
    """Stop our policy and answer in its place."""
    with loop.observer.publisher(Action, 'action', qos.action()) as publisher:

        def on_observation(observation: Observation) -> None:
            for action in answer(observation):
                publisher.publish(action)

        with (
            loop.stopped(loop.policy, 'policy'),
            loop.observer.subscribed(
                Observation, 'observation', on_observation, qos.observation()
            ),
        ):
            yield


def action_for(observation: Observation, value: float = 0.25, run_id: int | None = None) -> Action:
    return Action(
        header=observation.header,
        run_id=observation.run_id if run_id is None else run_id,
        episode=observation.episode,
        step=observation.step,
        values=array('f', [value]),
        model_hash='another policy',
    )


@pytest.mark.faults('policy that never answers', expected=STANDS_IN)
def test_silent_policy(loop, happened):
    with replaced_policy(loop, lambda observation: ()):
        if loop.mode == 'realtime':
            loop.wait_for('the safe action', lambda: all(t.safe_action for t in loop.latest(10)))
            seen = 'the safe action was applied instead'
        else:
            seen = repr(loop.wait_for_report('sim', 'the policy is silent'))

    loop.wait_until_steady()
    happened(f'{seen}; goes on with a policy that answers')


@pytest.mark.faults('policy that answers twice', expected=COUNTED)
def test_policy_that_answers_twice(loop, happened):
    with replaced_policy(loop, lambda o: (action_for(o), action_for(o))):
        loop.wait_for_episode()
        loop.wait_for_episode()

    loop.wait_until_steady()
    counted = loop.counts('duplicate_actions')
    assert counted > 0
    happened(f'{counted} duplicate_actions, none applied')


@pytest.mark.faults('policy that answers for another robot', expected=COUNTED)
def test_policy_that_answers_for_another_robot(loop, happened):
    with replaced_policy(loop, lambda o: (action_for(o, run_id=o.run_id ^ 1), action_for(o))):
        loop.wait_for_episode()
        loop.wait_for_episode()

    loop.wait_until_steady()
    counted = loop.counts('foreign_actions')
    assert counted > 0
    happened(f'{counted} foreign_actions, none applied')


@pytest.mark.faults(
    'policy that answers NaN', expected='the safe action is applied instead, reported'
)
def test_policy_that_answers_nan(loop, happened):
    with replaced_policy(loop, lambda o: (action_for(o, float('nan')),)):
        loop.wait_for('the safe action', lambda: all(t.safe_action for t in loop.latest(10)))
        report = loop.wait_for_report('sim', 'actions rejected')

    loop.wait_until_steady()
    happened(f'the safe action was applied instead: {report!r}')
