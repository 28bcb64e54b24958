"""A wrong argument is told before anything heavy is imported and before an extra is installed."""

import subprocess
import sys

import pytest

from rl_edge_core.model_files import models_folder

BEST = str(models_folder() / 'ant_v5' / 'best')
OUT = ('--out', '{folder}/out')
SCRIPT = """
import sys
from rl_edge_{package} import main

code = main(sys.argv[1:])
heavy = {{'tensorflow', 'keras', 'onnx'}} & set(sys.modules)
print('exit', code, 'after', sorted(heavy))
"""


def run(package, words, folder):
    words = [word.format(folder=folder) for word in words]
    script = SCRIPT.format(package=package)
    return subprocess.run(
        [sys.executable, '-c', script, *words], capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('import', 'nosuch.zip', *OUT), 'nosuch.zip is not a file: give a .onnx, .zip'),
        (('import', '{folder}/README.md', *OUT), 'is none of the files that are read'),
        (('import', '{folder}/stats.pkl', *OUT), 'give the .zip, and this file as --norm'),
        (('import', '{folder}/README.md'), 'give FILE and --out FOLDER'),
        (('compress', 'nosuch', *OUT), 'nosuch is not a policy artifact'),
        (('compress', BEST, '--recipes', 'studnt26', *OUT), '(did you mean student26?)'),
        (('compress', BEST, '--calibration', 'nosuch.npy', *OUT), 'nosuch.npy is not a file'),
        (('report', 'nosuch'), 'nosuch is not a policy artifact'),
        (('report', BEST, '--recipes', 'int9'), "has no recipe 'int9' (did you mean int8?)"),
        (
            ('publish', BEST, BEST, '--recipes', 'int9'),
            "has no recipe 'int9' (did you mean int8?)",
        ),
        (('export', 'nosuch', '--format', 'c', *OUT), 'nosuch is not a policy artifact'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, tuple) else '',
)
def test_a_wrong_argument_of_compression_is_told_at_once(words, message, tmp_path):
    (tmp_path / 'README.md').write_text('# no policy\n')
    (tmp_path / 'stats.pkl').write_bytes(
        b'\x80\x03cstable_baselines3.common.vec_env.vec_normalize'
    )

    done = run('compress.__main__', words, tmp_path)

    assert message in done.stderr
    assert done.stdout.splitlines()[-1] == 'exit 1 after []'
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('evaluate', 'nosuch'), 'no policy at nosuch'),
        (('evaluate', BEST, '--recipe', 'int9'), "has no recipe 'int9' (did you mean int8?)"),
        (('export', 'nosuch', *OUT), 'nosuch is not a run'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, tuple) else '',
)
def test_a_wrong_argument_of_training_is_told_at_once(words, message, tmp_path):
    done = run('train.__main__', words, tmp_path)

    assert message in done.stderr
    assert done.stdout.splitlines()[-1] == 'exit 1 after []'
