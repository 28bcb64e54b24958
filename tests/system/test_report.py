"""Report, envelope and clip from end to end, on small environments."""

import json
import subprocess
import sys

import pytest
from PIL import Image
from result_keys import ENVELOPE, REPORT, missing_keys

from rl_edge_experiments.cpu_quota import QuotaNotPermittedError, make_group
from rl_edge_sim.video import drawing_environment

SMALL = 'environment_id:=InvertedPendulum-v5'
_PROBE = (
    'import gymnasium; env = gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array", '
    'width=16, height=16); env.reset(); env.render()'
)


@pytest.fixture(scope='module')
def can_draw():
    # OpenGL libraries that fail may take their process with them.
    probe = subprocess.run(
        [sys.executable, '-c', _PROBE], env=drawing_environment(), capture_output=True, timeout=100
    )
    return probe.returncode == 0


def test_a_report_has_metrics_claims_and_images_of_both_sides(command, can_draw, tmp_path):
    settings = ('episodes:=2', 'seconds:=4', 'load:=0', 'picture_width:=64', 'picture_height:=48')
    words = (SMALL, 'models:=untrained', f'output:={tmp_path}', *settings)
    render = f'render:={"topic" if can_draw else "none"}'

    report = command('report', *words, render)

    assert report.exit_code(380) == 0, report.text
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert missing_keys(summary, REPORT) == []
    pair = summary['models']['untrained']
    for side in ('uncompressed', 'compressed'):
        assert [episode['seed'] for episode in pair[side]['episodes']] == [0, 1]
        acting = pair[side]['acting']['alone']
        assert acting['policy_cpu_ms_per_action'] > 0
        assert acting['inference_us_p50'] > 0
        assert acting['steps'] > 50
        assert (acting['pictures'] is not None) == can_draw
    memory = [
        pair[side]['acting']['alone']['policy_resident_mb'] for side in pair if 'comp' in side
    ]
    # TensorFlow alone is several times as large as the compressed policy's whole process.
    assert memory[0] > 3 * memory[1]
    by_text = {claim['text']: claim for claim in summary['claims']}
    assert by_text['PPO moves best']['verdict'] == 'not measured'
    assert by_text['lower average CPU']['findings']['untrained']['figure'].startswith('alone')
    page = (tmp_path / 'index.html').read_text()
    assert ('data:image/gif;base64' in page) == can_draw
    assert 'data:image/png;base64' in page

    again = command('report', *words, render, 'reuse:=true')

    assert again.exit_code(100) == 0, again.text
    assert json.loads((tmp_path / 'summary.json').read_text())['models'] == summary['models']


def test_the_envelope_holds_the_policy_and_says_what_the_kernel_did(command, model, tmp_path):
    try:
        make_group('rl_edge-test').close()
    except QuotaNotPermittedError as error:
        pytest.skip(str(error))
    run = command(
        'envelope',
        *('environment_id:=Pendulum-v1', f'model:={model}', f'output:={tmp_path}'),
        *('configurations:=compressed', 'real_time_factors:=4', 'shares:=2', 'search:=0'),
        'episodes:=1',
    )

    assert run.exit_code(300) == 0, run.text
    content = json.loads((tmp_path / 'envelope.json').read_text())
    assert missing_keys(content, ENVELOPE) == []
    (group,) = content['groups']
    whole, held = group['runs']
    assert (whole['core_percent'], held['core_percent']) == (100.0, 2.0)
    assert whole['throttling'] is None
    assert (held['throttling']['quota_us'], held['throttling']['period_us']) == (1000, 50_000)
    # 120 actions per second are more than 20 ms per second are enough for.
    assert held['throttling']['throttled_periods'] > 0
    assert held['missed_share'] > whole['missed_share']
    assert len(held['returns']) == 1
    assert held['cpu_ms_per_action'] > 0


def test_a_clip_is_a_gif_of_the_episode(command, can_draw, tmp_path):
    if not can_draw:
        pytest.skip('this machine has no OpenGL (MUJOCO_GL=egl or osmesa)')
    path = tmp_path / 'fall.gif'

    clip = command(
        'clip', SMALL, 'model:=untrained', 'seconds:=0.2', 'width:=64', 'height:=48',
        f'output:={path}',
    )  # fmt: skip

    assert clip.exit_code(200) == 0, clip.text
    with Image.open(path) as film:
        assert film.size == (64, 48)
        assert film.n_frames == 5  # at 25 Hz


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('output:=clip.mp4',), 'must be a file that ends in .gif'),
        (('environment_id:=Pendulum-v1', 'model:=untrained'), 'is not a MuJoCo environment'),
    ],
)
def test_what_cannot_be_filmed_is_said(command, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    clip = command('clip', *words)

    assert clip.exit_code(200) == 2
    assert message in clip.text
    assert 'Traceback' not in clip.text
