"""That tests of whole systems run one after the other, which depends on pytest and a plugin."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_tests_of_whole_systems_are_a_group_of_their_own():
    name = 'test_the_messages_are_what_they_say'
    words = ['-v', '--numprocesses=1', '--dist=loadgroup', '-k', name, 'tests/faults']

    done = subprocess.run(
        [sys.executable, '-m', 'pytest', *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert f'::{name}@serial' in done.stdout, done.stdout
