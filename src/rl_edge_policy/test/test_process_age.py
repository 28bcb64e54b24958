import subprocess
import sys
import time

PROGRAM = """
import time
from rl_edge_policy.metrics import process_age_sec
print(process_age_sec(), time.monotonic())
"""


def test_the_age_counts_from_the_start_of_the_process():
    before = time.monotonic()
    output = subprocess.run(
        [sys.executable, '-c', PROGRAM], capture_output=True, text=True, check=True
    ).stdout
    age, asked = map(float, output.split())
    # It started after `before`; the kernel's start time has steps of 10 ms.
    assert 0 < age <= asked - before + 0.02
    assert age > 0.25 * (asked - before)
