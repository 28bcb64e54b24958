"""Training through real processes: robots explore, the train node learns, they get better."""

import signal

import pytest

from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import EpisodeSummary, TrainingMetrics
from rl_edge_interfaces.srv import SaveCheckpoint
from rl_edge_train import checkpoint

# TensorFlow starts in four processes, and learning takes as long as the machine needs.
pytestmark = [pytest.mark.timeout(1500), pytest.mark.xdist_group('system_training')]
LEARNING_SEC = 1200.0
LONGEST_EPISODE = 1000
"""Steps of an episode in which the pole never falls; before training it falls within some 30."""
START = ('train', 'environment_id:=InvertedPendulum-v5')


def has_balanced(observer):
    return any(
        episode.ended_by == EpisodeSummary.ENDED_BY_TIME_LIMIT
        and episode.length == LONGEST_EPISODE
        for episode in observer.episodes
    )


@pytest.fixture
def metrics(observe, namespace):
    """Return what the train node says of itself, as it arrives."""
    heard = []
    topic = f'/{namespace}/training_metrics'
    with observe(transitions=False).subscribed(
        TrainingMetrics, topic, heard.append, qos.training_metrics()
    ):
        yield heard


def test_two_robots_learn_to_balance(command, observe, namespace, metrics, tmp_path):
    robots = [f'{namespace}/{name}' for name in ('left', 'right')]
    observers = [observe(robot, transitions=False) for robot in robots]
    wait_for = observers[0].wait_for
    train = command(
        *START,
        'preset:=sac_small',
        f'namespace:={namespace}',
        f'robot_namespaces:={",".join(robots)}',
        'export_period_sec:=2',
        f'output:={tmp_path}',
    )

    for observer in observers:
        observer.wait_for(lambda observer=observer: has_balanced(observer), LEARNING_SEC)
        assert observer.episodes[0].length < LONGEST_EPISODE / 10

    # Both act by policies that the trainer has exported, and the latest one has arrived.
    for observer in observers:
        wait_for(lambda observer=observer: observer.statuses[-1].swaps > 1)
        exported = {figures.model_hash for figures in metrics}
        assert exported & {status.model_hash for status in observer.statuses}
    # The summary of an episode may overtake its last transitions, which are missing until then.
    wait_for(lambda: metrics[-1].lost_transitions == 0)
    latest = metrics[-1]
    assert latest.algorithm == 'sac'
    assert latest.transitions > 1000
    assert latest.updates > 0
    assert 'critic_loss' in latest.names
    assert latest.episodes >= max(len(observer.episodes) for observer in observers)
    assert (latest.duplicate_transitions, latest.rejected_transitions) == (0, 0)

    service = f'/{namespace}/train/save_checkpoint'
    with observers[0].client(SaveCheckpoint, service) as save_checkpoint:
        wait_for(save_checkpoint.service_is_ready)
        answer = save_checkpoint.call_async(SaveCheckpoint.Request())
        wait_for(answer.done)
    assert answer.result().success, answer.result().message
    at_request = checkpoint.read_newest(tmp_path / 'training' / 'checkpoints')[0].steps
    assert at_request >= latest.transitions

    known = len(metrics)
    wait_for(lambda: len(metrics) > known and metrics[-1].transitions > at_request)
    train.process.send_signal(signal.SIGINT)
    assert train.exit_code() == 128 + signal.SIGINT
    at_end = checkpoint.read_newest(tmp_path / 'training' / 'checkpoints')[0].steps
    assert at_end > at_request


@pytest.mark.parametrize('preset', ['ppo', 'actor_critic'])
def test_algorithms_that_cannot_learn_from_transitions_are_refused(command, preset, tmp_path):
    refused = command(*START, f'preset:={preset}', f'output:={tmp_path}')

    assert refused.exit_code() == 1
    assert 'use sac, td3 or ddpg' in refused.text
