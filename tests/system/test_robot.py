"""A policy on a robot behind standard topics: simulator, robot node and policy as processes."""

import signal

import numpy as np
import pytest
import yaml

from rl_edge_compress.untrained import ensure_untrained
from rl_edge_core.artifact import load_manifest
from rl_edge_core.episode_result import EndedBy
from rl_edge_core.model_files import workspace_folder
from rl_edge_experiments.record_run import RunRequest, record_run
from rl_edge_sim.environment import make_environment

BEST = workspace_folder() / 'models' / 'ant_v5' / 'best'


@pytest.fixture
def walking(system, observe):
    """A simulated Ant that `best` drives over JointState, Imu, Odometry and commands."""
    observer = observe()
    simulator = system('desktop', environment_id='Ant-v5', interface='standard')
    robot = system('robot', description='ant_v5', model=BEST, on_node_exit='respawn')
    observer.wait_for(lambda: observer.transition_count > 40)
    return simulator, robot, observer


def test_it_walks_and_gives_way_to_the_safe_action_while_its_policy_is_gone(walking):
    _, robot, observer = walking
    hashes = {entry.sha256 for entry in load_manifest(BEST).files}
    acted = [t for t in observer.transitions() if not t.safe_action]
    assert {t.model_hash for t in acted} <= hashes
    assert len(acted[0].observation) == 105
    first = robot.pid('policy')
    before = observer.transition_count
    robot.send('policy', signal.SIGKILL)
    robot.pid('policy', other_than=first)

    def safe_then_policy():
        safe = [t.safe_action for t in observer.transitions()[before:]]
        return True in safe and False in safe[safe.index(True) :]

    observer.wait_for(safe_then_policy)
    assert all((np.abs(t.action) <= 1.0).all() for t in observer.transitions())


def test_a_robot_that_falls_silent_is_stopped_and_goes_on_when_it_is_heard_again(walking):
    simulator, _, observer = walking
    simulator.send('sim', signal.SIGSTOP)

    def stopped():
        return [e for e in observer.episodes if e.ended_by == EndedBy.SAFETY_STOP]

    observer.wait_for(stopped)
    simulator.send('sim', signal.SIGCONT)
    assert stopped()[-1].termination_reason.startswith('nothing valid on ')
    later = stopped()[-1].episode + 1
    observer.wait_for(lambda: any(t.episode >= later for t in observer.transitions()))


def test_the_simulator_plays_the_robot_that_the_policy_was_made_for(tmp_path):
    """A recorded run of a robot whose environment has arguments: six legs instead of four."""
    description = workspace_folder() / 'examples' / 'hexapod' / 'robot.yaml'
    arguments = yaml.safe_load(description.read_text())['environment_arguments']
    text = yaml.safe_dump(arguments, default_flow_style=True, width=1000).strip()
    model = ensure_untrained('Ant-v5', text, tmp_path)
    robot = {'model': str(model), 'episodes': '1', 'mode': 'realtime'}
    request = RunRequest(tmp_path / 'run', robot, seconds=1.0, robot=str(description))
    assert record_run(request).robot.transitions > 0


def test_episodes_begin_where_the_simulated_robot_was_put_by_their_seed(system, observe):
    observer = observe()
    system('desktop', environment_id='Ant-v5', interface='standard', real_time_factor=4)
    system(
        'robot',
        description='ant_v5',
        model=BEST,
        reset_service='sim/reset',
        seed=5,
        on_node_exit='respawn',
    )
    env = make_environment('Ant-v5')

    def begins_as_put(first):
        begin, _ = env.reset(seed=5 + first.episode)
        # As a sensor says it: the environment does not normalise the one that it begins with.
        begin[1:5] /= np.linalg.norm(begin[1:5])
        return np.allclose(first.observation[:27], begin[:27], rtol=0.0, atol=1e-6)

    def episodes_begun_as_put():
        begun = [t for t in observer.transitions() if t.step == 0]
        return [first.episode for first in begun if begins_as_put(first)]

    # The simulator waits for nobody: on a busy machine a robot may see it a period later.
    observer.wait_for(lambda: observer.episodes, 150.0)
    observer.wait_for(lambda: len(episodes_begun_as_put()) >= 2, 150.0)
    assert observer.episodes[0].seed == 5
    env.close()
