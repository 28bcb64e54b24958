"""The runner on small programs of its own; nodes are in tests/system."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from programs import Program, run

from rl_edge_bringup.running_system import RUNNER, Outcome, StopTimes

LASTING = 'import time; print("ready"); time.sleep(300)'
ENDS_ON_INTERRUPT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("ready")
signal.sigwait([signal.SIGINT])
print("bye")
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready")
time.sleep(300)
"""
WITH_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print("child", child.pid)
sys.exit(4)
"""


def is_running(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def has_ended(pid, timeout_sec=60):
    """Wait for the end of a process that is not a child of this one."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        psutil.Process(pid).wait(timeout_sec)
    return not is_running(pid)


def test_where_exits_are_ignored_the_others_go_on_until_none_is_left():
    waits = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("ready")
signal.sigwait([signal.SIGUSR1])
"""
    programs = (
        Program('fails', 'import sys; sys.exit(3)'),
        Program('finishes', 'print("done")', ends_run=True),
        Program('waits', waits),
    )
    with run(*programs, on_node_exit='ignore') as system:
        system.log.wait_for('fails .* died with exit code 3; the others go on', node=RUNNER)
        system.log.wait_for('finishes has finished', node=RUNNER)
        assert system.is_running()
        system.log.wait_for('ready', node='waits')
        system.send('waits', signal.SIGUSR1)
        outcome = system.wait(60)

    assert outcome == Outcome(0, 'all nodes have exited')


def test_lines_carry_the_name_of_the_node_and_none_is_lost():
    many = Program('many', 'for i in range(20000): print("line", i)\nprint("no newline", end="")')
    lines = []

    with run(many, on_line=lambda node, line: lines.append((node, line))) as system:
        system.wait(60)

    written = [line for node, line in lines if node == 'many']
    assert written == [f'line {i}' for i in range(20000)] + ['no newline']


def test_when_the_node_that_ends_the_run_ends_well_the_others_are_stopped():
    sim = Program('sim', 'print("done")', ends_run=True)
    policy = Program('policy', ENDS_ON_INTERRUPT)

    with run(sim, policy) as system:
        outcome = system.wait(60)

    assert outcome.exit_code == 0
    assert outcome.reason == 'sim has finished'


def test_a_node_that_dies_ends_the_run_with_its_name_and_exit_code():
    with run(Program('sim', 'import sys; sys.exit(5)'), Program('policy', LASTING)) as system:
        policy = system.pid('policy')
        outcome = system.wait(60)

    assert outcome.exit_code == 5
    assert 'sim' in outcome.reason
    assert 'exit code 5' in outcome.reason
    assert not is_running(policy)


def test_stop_lets_nodes_end_by_themselves():
    with run(Program('policy', ENDS_ON_INTERRUPT)) as system:
        system.log.wait_for('ready')
        system.stop()
        outcome = system.wait(60)

    assert outcome.exit_code == 0
    assert system.log.of('policy') == ['ready', 'bye']


def test_a_node_that_ignores_signals_is_killed_after_the_declared_times():
    times = StopTimes(interrupt_sec=0.05, terminate_sec=0.05)
    with run(Program('policy', STUBBORN), stop_times=times) as system:
        pid = system.pid('policy')
        system.log.wait_for('ready')
        system.stop()
        system.wait(60)

    assert not is_running(pid)
    assert any('does not end: killed' in line for line in system.log.of(RUNNER))


def test_a_second_stop_kills_at_once():
    times = StopTimes(interrupt_sec=1000.0, terminate_sec=1000.0)
    with run(Program('policy', STUBBORN), stop_times=times) as system:
        system.log.wait_for('ready')
        system.stop()
        system.stop()

        assert system.wait(60).exit_code == 0


def test_what_a_dead_node_left_running_is_killed():
    with run(Program('train', WITH_CHILD)) as system:
        outcome = system.wait(60)

    (child,) = (int(line.split()[1]) for line in system.log.of('train'))
    assert outcome.exit_code == 4
    assert has_ended(child)


def test_respawn_starts_a_killed_node_again():
    with run(Program('policy', LASTING), on_node_exit='respawn') as system:
        first = system.pid('policy')
        ready = system.log.wait_for('ready')
        system.send('policy', signal.SIGKILL)
        second = system.pid('policy', other_than=first)
        system.log.wait_for('ready', after=ready)

    assert not is_running(first)
    assert not is_running(second)
    assert any('restart 1 of 5' in line for line in system.log.of(RUNNER))


def test_a_program_that_cannot_be_started_fails_the_run_and_leaves_nothing_behind():
    @dataclass(frozen=True)
    class Missing(Program):
        @property
        def command(self):
            return ('/nonexistent/program',)

    before = {child.pid for child in psutil.Process().children()}  # other tests leave helpers
    system = run(Program('policy', LASTING), Missing('sim', ''))
    with system, pytest.raises(FileNotFoundError):
        system.wait(60)

    started = {child.pid for child in psutil.Process().children()} - before
    assert not any(is_running(pid) for pid in started)


def test_the_run_goes_on_until_the_last_node_that_ends_it_has_ended():
    first = Program('ant0/sim', 'print("done")', ends_run=True)
    second = Program('ant1/sim', ENDS_ON_INTERRUPT, ends_run=True)

    with run(first, second) as system:
        system.log.wait_for('ant0/sim has finished')
        system.log.wait_for('ready')
        system.send('ant1/sim', signal.SIGINT)
        outcome = system.wait(60)

    assert outcome == Outcome(0, 'ant1/sim has finished')


def test_nodes_after_one_with_a_ready_file_are_started_when_it_is_there(tmp_path):
    ready = tmp_path / 'ready_0.mcap'
    code = f'import time; open({str(ready)!r}, "w").close(); print("ready"); time.sleep(300)'
    recorder = Program('recorder', code, ready_file=str(tmp_path / 'ready_0.*'))
    sim = Program('sim', f'import os; print(os.path.exists({str(ready)!r}))', ends_run=True)

    with run(recorder, sim) as system:
        assert system.wait(60).exit_code == 0

    assert system.log.of('sim') == ['True']


def test_the_run_is_over_when_the_node_that_others_wait_for_dies(tmp_path):
    recorder = Program('recorder', 'import sys; sys.exit(3)', ready_file=str(tmp_path / 'never'))

    with run(recorder, Program('sim', LASTING)) as system:
        assert system.wait(60).exit_code == 3

    assert system.log.of('sim') == []


def test_waiting_for_a_line_that_cannot_come_any_more_ends_with_the_last_lines():
    with run(Program('sim', 'print("the final line")', ends_run=True)) as system:
        system.wait(60)
        with pytest.raises(TimeoutError, match='the final line'):
            system.log.wait_for('never written')


def test_nodes_die_with_a_runner_that_is_killed(tmp_path):
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
sys.path.insert(0, {os.path.dirname(__file__)!r})
from programs import Program, run
from test_running_system import STUBBORN
with run(Program('policy', STUBBORN)) as system:
    pid = system.pid('policy')
    system.log.wait_for('ready')
    print(pid, flush=True)
    system.wait()
"""
    runner = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    pid = int(runner.stdout.readline())
    runner.kill()
    runner.wait(60)
    runner.stdout.close()

    assert has_ended(pid)


HUNGRY = """
import sys
from pathlib import Path
from programs import Program, run

Path(sys.argv[1], 'cgroup.procs').write_text('0')
eats = 'print("ready"); eaten = []\\nwhile True: eaten.append(bytearray(10_000_000))'
with run(Program('hungry', eats)) as system:
    print(system.wait(60).reason)
with run(Program('victim', 'import os; os.kill(os.getpid(), 9)')) as system:
    print(system.wait(60).reason)
"""


@pytest.fixture
def small_cgroup():
    """A cgroup of 200 MB below that of this process, where the machine lets us make one."""
    by_controller = {}
    for line in Path('/proc/self/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        by_controller[controllers] = path.lstrip('/')
    version_1 = 'memory' in by_controller
    mount = Path('/sys/fs/cgroup', 'memory' if version_1 else '')
    folder = mount / by_controller['memory' if version_1 else ''] / f'rl_edge_test_{os.getpid()}'
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f'no cgroup can be made here: {error}')
    try:
        limit = folder / ('memory.limit_in_bytes' if version_1 else 'memory.max')
        if not limit.exists():
            pytest.skip('cgroups have no memory controller here')
        limit.write_text('200000000')
        yield folder
    finally:
        folder.rmdir()


def test_a_kill_by_a_kernel_out_of_memory_is_named_and_another_is_not(small_cgroup):
    """A process of the runner's own, in a small cgroup: its node takes all there is."""
    done = subprocess.run(
        [sys.executable, '-c', HUNGRY, str(small_cgroup)],
        env={**os.environ, 'PYTHONPATH': f'{Path(__file__).parent}:{os.environ["PYTHONPATH"]}'},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    hungry, victim = done.stdout.splitlines()
    assert re.fullmatch(
        r'hungry \(pid \d+\) was killed by the kernel, which was out of memory for its cgroup '
        r'\(SIGKILL, exit code 137\): raise the memory limit or run less beside it: .*',
        hungry,
    )
    assert re.fullmatch(
        r'victim \(pid \d+\) was killed by SIGKILL \(exit code 137\): the run is over', victim
    )
