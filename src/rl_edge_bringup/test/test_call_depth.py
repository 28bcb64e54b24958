"""How many of our functions are being called where a command starts a node."""

import subprocess
import threading
import traceback

import pytest

from rl_edge_core.command import main

MOST_CALLS = 6


def own_calls():
    """Return the names of our functions on this thread's stack, the outermost first."""
    codes = [frame.f_code for frame, _ in traceback.walk_stack(None)]
    return [
        code.co_name
        for code in reversed(codes)
        if '/rl_edge_' in code.co_filename and '/test/' not in code.co_filename
    ]


def test_few_calls_lie_between_the_command_and_the_process_of_a_node(monkeypatch, tmp_path):
    calls = {}

    class Thread(threading.Thread):
        def start(self):
            calls['command'] = own_calls()
            super().start()

    def start_process(*_, **__):
        calls['thread'] = own_calls()
        raise OSError('stops here')

    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    monkeypatch.setattr(threading, 'Thread', Thread)
    monkeypatch.setattr(subprocess, 'Popen', start_process)
    with pytest.raises(OSError, match='stops here'):
        main(['sim', 'episodes:=1'])

    called = [*calls['command'], *calls['thread']]
    assert called[0] == 'main'
    assert called[-1] == '__init__'  # of the child process
    assert len(called) <= MOST_CALLS, called
