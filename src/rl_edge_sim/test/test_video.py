"""Videos: what is kept of an episode, and the frames made of it."""

import subprocess
import sys

import mujoco
import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_sim.environment import make_environment
from rl_edge_sim.rendering import draw_plainly, follow_robot
from rl_edge_sim.video import Video, draw_frames, drawing_environment, record_video

_PROBE = (
    'import gymnasium; env = gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array", '
    'width=16, height=16); env.reset(); env.render()'
)


def push(_):
    return np.array([1.0], np.float32)


@pytest.fixture(scope='module')
def video():
    return record_video('InvertedPendulum-v5', push, seed=0)


def test_a_video_has_the_state_after_each_step(video):
    env = make_environment('InvertedPendulum-v5')
    env.reset(seed=0)
    steps = 0
    for state in video.states:
        env.step(push(None))
        positions = env.unwrapped.data.qpos
        # mjSTATE_PHYSICS begins with the positions.
        np.testing.assert_array_equal(state[: positions.size], positions)
        steps += 1
    assert steps == len(video.states) > 1
    assert video.control_period_sec == pytest.approx(0.04)


def test_a_part_has_the_steps_of_its_time(video):
    part = video.part(begin_sec=0.08, seconds=0.12)

    np.testing.assert_array_equal(part.states, video.states[2:5])
    with pytest.raises(ConfigurationError, match='but the episode lasts'):
        video.part(begin_sec=1000.0, seconds=1.0)


def test_a_video_is_stored_as_plain_arrays(video, tmp_path):
    video.save(tmp_path / 'video.npz')

    loaded = Video.load(tmp_path / 'video.npz')

    assert loaded.environment_id == 'InvertedPendulum-v5'
    np.testing.assert_array_equal(loaded.states, video.states)
    assert loaded.environment_arguments == {}


def test_other_than_mujoco_cannot_be_recorded():
    with pytest.raises(ConfigurationError, match='not a MuJoCo environment'):
        record_video('Pendulum-v1', push, seed=0)


def test_frames_show_the_states(video):
    # OpenGL libraries that fail may take their process with them.
    probe = subprocess.run(
        [sys.executable, '-c', _PROBE], env=drawing_environment(), capture_output=True, timeout=100
    )
    if probe.returncode:
        pytest.skip('this machine has no OpenGL (MUJOCO_GL=egl or osmesa)')
    frames = draw_frames(video, width=64, height=48)

    assert frames.shape == (len(video.states), 48, 64, 3)
    assert frames.dtype == np.uint8
    assert not np.array_equal(frames[0], frames[-1])


def test_missing_opengl_is_an_error_with_the_remedy(video, monkeypatch):
    monkeypatch.setenv('MUJOCO_GL', 'nonesuch')

    with pytest.raises(RlEdgeError, match='MUJOCO_GL=egl'):
        draw_frames(video, width=64, height=48)


def test_the_camera_follows_the_ant_over_a_floor_without_end():
    env = make_environment('Ant-v5', render_mode='rgb_array')
    simulation = env.unwrapped
    torso = mujoco.mj_name2id(simulation.model, mujoco.mjtObj.mjOBJ_BODY, 'torso')

    follow_robot(env)

    camera = simulation.mujoco_renderer.default_cam_config
    assert camera['type'] == mujoco.mjtCamera.mjCAMERA_TRACKING
    assert camera['trackbodyid'] == torso
    floor = mujoco.mj_name2id(simulation.model, mujoco.mjtObj.mjOBJ_GEOM, 'floor')
    assert simulation.model.geom_size[floor, :2].tolist() == [0.0, 0.0]
    env.close()


def test_plain_frames_have_no_shadows_and_no_smoothing():
    env = make_environment('InvertedPendulum-v5', render_mode='rgb_array')

    draw_plainly(env)

    quality = env.unwrapped.model.vis.quality
    assert (quality.shadowsize, quality.offsamples) == (0, 0)
    env.close()
