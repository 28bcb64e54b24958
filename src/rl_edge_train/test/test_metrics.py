"""The records of a run."""

import io
import math
import subprocess
import sys

import pytest

from rl_edge_train.metrics import CsvLog, EpisodeWindow, MetricMeans, draw_learning_curve
from rl_edge_train.selection import EVALUATION_SEED, SELECTION_SEED, metrics_of
from rl_edge_train.train_command import SEEDS
from rl_edge_train.vector_environment import FinishedEpisode


def episode(episode_return, *, distance=1.0, terminated=False):
    return FinishedEpisode(0, episode_return, 10, distance, terminated)


def test_rows_come_back_and_new_columns_are_added_to_old_rows(tmp_path):
    log = CsvLog(tmp_path / 'log.csv')
    log.append({'steps': 10, 'loss': 0.5})
    log.append({'steps': 20, 'loss': 0.25, 'entropy': 2.0})
    assert log.rows() == [
        {'steps': '10', 'loss': '0.5', 'entropy': ''},
        {'steps': '20', 'loss': '0.25', 'entropy': '2'},
    ]


def test_rows_behind_a_checkpoint_are_cut_off(tmp_path):
    log = CsvLog(tmp_path / 'log.csv')
    for steps in (10, 20, 30):
        log.append({'steps': steps})
    log.cut_after(20)
    assert [row['steps'] for row in log.rows()] == ['10', '20']


def test_a_row_that_a_kill_cut_short_is_left_out(tmp_path):
    log = CsvLog(tmp_path / 'log.csv')
    log.append({'steps': 10, 'loss': 0.5})
    with log.path.open('a') as file:
        file.write('20,0.')
    assert [row['steps'] for row in log.rows()] == ['10']
    log.cut_after(100)
    log.append({'steps': 30, 'loss': 1.0})
    assert [row['steps'] for row in log.rows()] == ['10', '30']


def test_the_window_holds_the_newest_episodes_and_comes_back():
    window = EpisodeWindow()
    assert math.isnan(window.means()['episode_return'])
    window.add([episode(float(number)) for number in range(100)])
    # The newest 50 are 50 to 99: mean 74.5.
    assert window.means()['episode_return'] == pytest.approx(74.5)
    restored = EpisodeWindow()
    restored.load_state(window.state())
    assert restored.means() == window.means()


def test_means_start_anew_once_taken():
    means = MetricMeans()
    means.add({'loss': 1.0})
    means.add({})
    means.add({'loss': 2.0})
    assert means.take() == {'loss': 1.5}
    assert means.take() == {}


def test_metrics_of_episodes():
    figures = metrics_of([episode(1.0, distance=2.0, terminated=True), episode(3.0, distance=4.0)])
    assert figures == {
        'episodes': 2,
        'episode_return': 2.0,
        'return_std': 1.0,
        'distance_m': 3.0,
        'early_ends': 1,
    }


def test_training_selection_and_evaluation_share_no_seed():
    # The vector environments of run seed S start at 1000 S; the largest S is SEEDS - 1.
    assert 1000 * SEEDS <= SELECTION_SEED < EVALUATION_SEED


def test_the_learning_curve_is_a_picture_of_the_logs(tmp_path):
    assert draw_learning_curve(tmp_path) is None
    for steps in (10, 20):
        row = {'steps': steps, 'episode_return': 1.0, 'distance_m': float('nan')}
        CsvLog(tmp_path / 'metrics.csv').append(row)
        CsvLog(tmp_path / 'evaluations.csv').append(row)
    out = tmp_path / 'out'
    picture = draw_learning_curve(tmp_path, out=out)
    assert picture.read_bytes().startswith(b'\x89PNG')
    assert (out / 'learning_curve.csv').read_text() == (tmp_path / 'evaluations.csv').read_text()


def test_a_log_gets_lines_with_return_distance_speed_and_time_left(tmp_path):
    from rl_edge_train.display import RunDisplay

    stream = io.StringIO()
    display = RunDisplay(tmp_path, total_steps=1_000_000, stream=stream)
    display.advance(1000, has_learned=True)
    display.show(
        {
            'steps': 400_000,
            'steps_per_second': 1000.0,
            'episode_return': 12.34,
            'distance_m': 5.6,
        }
    )
    display.close()
    line = stream.getvalue()
    for part in ('400,000 steps', '12.3', '5.6 m', '1000 steps/s', ' left'):
        assert part in line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_resumed_bar_counts_from_where_the_run_was_and_shows_no_distance_of_nan(tmp_path):
    from rl_edge_train.display import RunDisplay

    stream = Terminal()
    display = RunDisplay(tmp_path, total_steps=1000, stream=stream)
    display.begin(900)
    bar = display._bar
    display.advance(950, has_learned=True)
    display.show(
        {'steps': 950, 'steps_per_second': 10.0, 'episode_return': 3.5, 'distance_m': math.nan}
    )
    assert (bar.initial, bar.n, bar.total) == (900, 950, 1000)
    display.close()
    assert '95%' in stream.getvalue()
    assert 'return      3.5' in stream.getvalue()
    assert 'nan' not in stream.getvalue()


def test_modules_set_nothing_while_they_are_imported():
    program = (
        'import os; before = dict(os.environ); import rl_edge_train.train_command, '
        'rl_edge_train.__main__; new = set(os.environ) - set(before); '
        'raise SystemExit(" ".join(name for name in new if name.startswith(("TF_", "XLA"))))'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, check=False)
    assert done.stderr.strip() == b''


def test_the_time_left_counts_from_the_first_step_that_was_learned_from():
    from rl_edge_train.display import TimeLeft

    now = [100.0]
    left = TimeLeft(10_000, now_sec=lambda: now[0])
    assert left.text(2000) == ''  # resumed at 2,000
    now[0] = 101.0
    left.note(3000, has_learned=False)  # steps of the warm-up are fast
    assert left.text(3000) == ''
    now[0] = 141.0
    left.note(3100, has_learned=True)  # compiled for 40 s
    assert left.text(3100) == ''
    now[0] = 151.0
    left.note(3200, has_learned=True)
    assert left.text(3200) == '11 min left'  # 6,800 steps at 10 steps/s
    now[0] = 141.0 + 640.0
    assert left.text(9500) == '50 s left'  # 500 steps at 10 steps/s
