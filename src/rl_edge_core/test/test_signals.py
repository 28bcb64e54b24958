import signal
import subprocess
import sys

import pytest

WAITING = """
import signal
import sys
import threading

from rl_edge_core.signals import ENDING_SIGNALS, watch_ending_signals

signal.signal(signal.SIGHUP, signal.SIG_IGN if 'nohup' in sys.argv else signal.SIG_DFL)
ended = threading.Event()
waiting = threading.Thread(target=ended.wait)
waiting.start()
# As when two signals come at once: the kernel gives both to the other thread.
signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
watch_ending_signals(lambda number: (print(number, flush=True), ended.set()))
print('waits', flush=True)
waiting.join()
"""


def output_of_signals(*numbers, arguments=()):
    process = subprocess.Popen(
        [sys.executable, '-c', WAITING, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == 'waits\n'
    for number in numbers:
        process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_another_thread_took_reaches_a_main_thread_that_waits(number):
    assert output_of_signals(number) == f'{number.value}\n'


def test_a_signal_to_hang_up_stays_ignored_under_nohup():
    numbers = (signal.SIGHUP, signal.SIGTERM)
    assert output_of_signals(*numbers, arguments=['nohup']) == f'{signal.SIGTERM.value}\n'
