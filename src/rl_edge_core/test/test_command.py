"""The command rl_edge: groups, forms, examples, and commands that need an extra."""

import ast
import json
import os
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from rl_edge_core import command
from rl_edge_core.command import COMMANDS_GROUP, GROUPS, Command, fail, installed_commands, main
from rl_edge_core.errors import ArtifactError, ConfigurationError, MissingExtraError
from rl_edge_core.extras import require_extra

HEAVY = ('rclpy', 'tensorflow', 'gymnasium', 'mujoco', 'numpy', 'yaml', 'matplotlib')
calls = []


def start_robots(words, prog):
    calls.append(('robots', *words))
    return 3


def read_options(words, prog):
    calls.append(('options', *words))


def refuse(words, prog):
    raise ConfigurationError('rate is 0: give more')


def close_output(words, prog):
    raise BrokenPipeError


COMMANDS = (
    Command('train', 'run', 'over ROS', 'commands_of_test:start_robots', 'a:=1', ('train',), True),
    Command('train', 'learn', 'alone', 'commands_of_test:read_options', '--a 1', ('train',)),
    Command('refuse', 'prove', 'an error', 'commands_of_test:refuse', ''),
)


@pytest.fixture
def registered(monkeypatch):
    """Only the commands above."""
    monkeypatch.setitem(sys.modules, 'commands_of_test', sys.modules[__name__])
    entry = EntryPoint('test', 'commands_of_test:COMMANDS', COMMANDS_GROUP)
    monkeypatch.setattr(command, 'entry_points', lambda group: [entry])
    calls.clear()


@pytest.mark.parametrize(
    ('words', 'called'),
    [
        (['train'], ('robots', 'train')),
        (['train', 'preset:=sac'], ('robots', 'train', 'preset:=sac')),
        (['train', '--preset', 'sac'], ('options', 'train', '--preset', 'sac')),
        (['train', 'runs/a'], ('options', 'train', 'runs/a')),
    ],
)
def test_a_name_with_two_meanings_is_told_apart_by_the_form_of_its_words(
    registered, words, called
):
    assert main(words) == (3 if called[0] == 'robots' else 0)
    assert calls == [called]


def test_help_of_such_a_name_shows_both_forms_with_an_example_of_each(registered, capsys):
    assert main(['train', '--help']) == 0
    shown = capsys.readouterr().out

    assert 'rl_edge train, followed by name:=value, or nothing: over ROS' in shown
    assert 'rl_edge train, followed by options: alone' in shown
    assert 'example:\n  rl_edge train a:=1' in shown
    assert 'example:\n  rl_edge train --a 1' in shown
    assert calls == [('robots', 'train', '--help'), ('options', 'train', '--help')]


def test_errors_and_unknown_commands_are_one_line(registered, capsys):
    assert main(['refuse']) == 2
    assert main(['trian']) == 2

    assert capsys.readouterr().err.splitlines() == [
        'error: rate is 0: give more',
        "error: no command is called 'trian' (did you mean train?); there are refuse, train",
    ]


def test_a_package_that_can_not_be_loaded_does_not_take_the_others_away(
    registered, monkeypatch, capsys
):
    broken = EntryPoint('broken', 'no_such_package.commands:COMMANDS', COMMANDS_GROUP)
    entries = [broken, *command.entry_points(COMMANDS_GROUP)]
    monkeypatch.setattr(command, 'entry_points', lambda group: entries)

    assert main(['train', 'a:=1']) == 3
    assert 'no_such_package.commands:COMMANDS can not be loaded' in capsys.readouterr().err


def test_every_installed_command_is_in_a_group_with_help_and_loads():
    found = installed_commands()

    assert {
        'sim',
        'edge',
        'desktop',
        'train',
        'evaluate',
        'compress',
        'report',
        'bag',
        'demo',
    } <= {c.name for c in found}
    for installed in found:
        assert installed.group in GROUPS
        assert installed.help
        assert callable(installed.load())
    forms = [(c.name, c.starts_nodes) for c in found]
    assert len(forms) == len(set(forms)), 'two commands of one name and one form'


ALL_HELP = """
import contextlib, io, json, sys
from rl_edge_core.command import main
said = {}
for name in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code = main([name, '--help'])
        except SystemExit as exit:
            code = exit.code
    said[name] = [code, out.getvalue()]
print(json.dumps(said))
"""


@pytest.fixture(scope='module')
def help_of_every_command():
    """Exit code and output of each ``rl_edge NAME --help``, of one process for all of them."""
    names = sorted({c.name for c in installed_commands()})
    done = subprocess.run(
        [sys.executable, '-c', ALL_HELP, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('name', sorted({c.name for c in installed_commands()}))
def test_every_installed_command_has_help_with_an_example(name, help_of_every_command):
    code, shown = help_of_every_command[name]

    assert code == 0
    assert f'rl_edge {name}' in shown
    assert 'example:' in shown


def test_the_executable_runs_a_command_of_another_package():
    done = subprocess.run(
        ['rl_edge', 'bag', '--help'], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert 'usage: rl_edge bag' in done.stdout
    assert 'Traceback' not in done.stderr


def test_the_overview_imports_nothing_heavy():
    program = (
        'import sys\n'
        'from rl_edge_core.command import main\n'
        "main(['--help'])\n"
        f'print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )

    for heading in GROUPS.values():
        assert f'\n{heading}\n' in done.stdout
    assert set(ast.literal_eval(done.stderr)) <= {'yaml'}  # which settings are written with


@pytest.mark.parametrize('reader', ['head -1', 'true'])
def test_output_that_nobody_reads_is_no_error(reader):
    done = subprocess.run(
        ['bash', '-c', f'rl_edge --help | {reader}'], capture_output=True, text=True, check=False
    )

    assert done.stderr == ''


def test_a_closed_standard_output_is_no_error():
    done = subprocess.run(
        ['bash', '-c', 'rl_edge --help >&-'], capture_output=True, text=True, check=False
    )

    assert done.stderr == ''


# Extras ----------------------------------------------------------------------------------------


def test_what_is_installed_needs_no_extra():
    require_extra('onnx', 'json', 'subprocess')


def test_a_missing_extra_names_both_commands_that_install_it():
    with pytest.raises(MissingExtraError) as error:
        require_extra('onnx', 'json', 'no_such_package')

    assert error.value.extra == 'onnx'
    assert 'no_such_package is not installed' in str(error.value)
    assert 'tools/env --with onnx' in str(error.value)
    assert 'pip install ' in str(error.value)


def test_a_missing_extra_of_a_device_is_installed_when_the_installation_is_made(monkeypatch):
    monkeypatch.setenv('RL_EDGE_INSTALLED', '/opt/rl_edge')
    with pytest.raises(MissingExtraError, match=r'installed: .*: make edge WITH=security$'):
        require_extra('security', 'no_such_package')


TOOLS_ENV = """#!/bin/sh
echo "tools/env $1 $2"
shift 2
exec env FOUND=1 "$@"
"""
NEEDS_EXTRA = """
import os
from rl_edge_core.command import fail
from rl_edge_core.errors import MissingExtraError, RlEdgeError
from rl_edge_core.extras import require_extra
try:
    if 'FOUND' not in os.environ or 'NEVER' in os.environ:
        require_extra('onnx', 'no_such_package')
    print('it runs')
except RlEdgeError as error:
    raise SystemExit(fail(error))
"""


@pytest.fixture
def run_in_checkout(tmp_path):
    """Run the program above where a checkout has a tools/env of ours."""
    tools_env = tmp_path / 'tools' / 'env'
    tools_env.parent.mkdir()
    tools_env.write_text(TOOLS_ENV)
    tools_env.chmod(0o755)
    program = tmp_path / 'needs_extra.py'
    program.write_text(NEEDS_EXTRA)

    def run(**environment):
        return subprocess.run(
            [sys.executable, str(program), 'a word'],
            env={**os.environ, 'RL_EDGE_ROOT': str(tmp_path), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_command_that_lacks_an_extra_is_started_again_with_it(run_in_checkout):
    done = run_in_checkout()

    assert done.returncode == 0, done.stderr
    assert done.stdout == 'tools/env --with onnx\nit runs\n'
    assert 'starting again with the extra onnx' in done.stderr


def test_it_is_started_again_once(run_in_checkout):
    done = run_in_checkout(NEVER='1')

    assert done.returncode == 1
    assert done.stdout.count('tools/env --with onnx') == 1
    assert done.stderr.splitlines()[-1].startswith('error: no_such_package is not installed')


def test_without_a_checkout_it_is_an_error_with_the_remedy(run_in_checkout, tmp_path):
    done = run_in_checkout(RL_EDGE_ROOT=str(tmp_path / 'nowhere'))

    assert done.returncode == 1
    assert 'pip install no-such-package' in done.stderr


def test_other_errors_have_their_exit_codes(capsys):
    assert fail(ConfigurationError('a')) == 2
    assert fail(ArtifactError('b')) == 1
    assert fail(ArtifactError('b'), exit_code=7) == 7


INTERRUPTED = """
import os, signal, sys
from rl_edge_core import command
from rl_edge_core.errors import RlEdgeError

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup

def run(words, prog):
    how, *numbers = words
    try:
        os.kill(os.getpid(), int(numbers[0]))
    except KeyboardInterrupt:
        for number in numbers[1:]:  # while what runs is being ended
            os.kill(os.getpid(), int(number))
        if how == 'import':
            raise ImportError('numpy could not be imported')
        if how == 'pool':
            return command.fail(RlEdgeError('a process was killed'))
        if how == 'hint':
            raise KeyboardInterrupt('the same command goes on')
        raise

command.installed_commands = lambda: [command.Command('run', 'look', '', '__main__:run', '')]
sys.exit(command.main(['run', *sys.argv[1:]]))
"""
INT, TERM, HUP = (str(int(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


@pytest.mark.parametrize(
    ('words', 'code', 'said'),
    [
        (('plain', INT), 130, 'interrupted'),
        (('import', INT), 130, 'interrupted'),
        (('pool', INT), 130, 'interrupted'),
        (('hint', INT), 130, 'interrupted; the same command goes on'),
        (('plain', INT, INT), 130, 'interrupted'),
        (('plain', TERM, TERM), 143, 'stopped by SIGTERM'),
        (('hint', HUP, TERM), 129, 'stopped by SIGHUP; the same command goes on'),
    ],
)
def test_a_signal_ends_a_command_with_a_word_and_no_traceback(words, code, said):
    done = subprocess.run(
        [sys.executable, '-c', INTERRUPTED, *words], capture_output=True, text=True, check=False
    )

    assert done.returncode == code
    assert done.stderr == f'{said}\n'


NOWHERE = '/dev/null/below'
"""Not even root can write there."""
WRITING = [
    ['evaluate', 'ant_v5/best', '--json', NOWHERE],
    ['train', '--preset', 'sac_small', '--out', NOWHERE],
    ['sweep', '--preset', 'sac_small', '--out', NOWHERE],
    ['export', 'ant_v5/best', '--format', 'c', '--out', f'{NOWHERE}.c'],
    ['export', 'ant_v5/best', '--format', 'onnx', '--out', f'{NOWHERE}.onnx'],
    ['bench_cluster', '--out', NOWHERE],
    ['compress', 'ant_v5/best', '--out', NOWHERE],
    ['import', 'nosuch.onnx', '--out', NOWHERE],
    *(['bag', 'nosuch', option, NOWHERE] for option in ('--json', '--csv', '--plots')),
    ['replay', 'nosuch', '--model', 'ant_v5/best', '--json', NOWHERE],
    ['view', 'nosuch', '--save', NOWHERE],
    ['urdf', 'Ant-v5', '--out', NOWHERE],
    *([name, f'output:={NOWHERE}'] for name in ('demo', 'report', 'bench', 'soak', 'two_hosts')),
    ['robot_proof', f'output:={NOWHERE}'],
    ['clip', f'output:={NOWHERE}.gif'],
    *([name, f'output_folder:={NOWHERE}'] for name in ('sim', 'edge', 'train', 'record')),
    ['sim', 'record:=true', f'output_folder:={NOWHERE}'],
]
WRITE_ALL = """
import contextlib, io, json, sys
from rl_edge_core.command import main
said = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(err):
        try:
            code = main(words)
        except SystemExit as exit:
            code = exit.code
    said.append([code, err.getvalue(), 'tensorflow' in sys.modules])
print(json.dumps(said))
"""


def test_an_output_that_cannot_be_written_is_told_before_anything_is_done_for_it(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', WRITE_ALL, json.dumps(WRITING)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'ROS_LOG_DIR': str(tmp_path)},
    )

    for words, (code, said, has_loaded) in zip(WRITING, json.loads(done.stdout), strict=True):
        assert code in (1, 2), (words, said)
        assert f'{NOWHERE}' in said, (words, said)
        assert 'cannot be written: a part of the path is a file' in said, (words, said)
        assert len(said.splitlines()) <= 9, (words, said)  # the error, and the usage of options
        assert not has_loaded, words
    assert os.listdir(tmp_path) == []


def test_commands_whose_nodes_are_not_installed_are_shown_as_such(monkeypatch, capsys):
    monkeypatch.setattr(command, 'registered_nodes', lambda: {'policy_node': None})
    lines = command.overview(installed_commands()).splitlines()

    listed = {line.split()[0] for line in lines if line.startswith('  ')}
    assert {'edge', 'policy'} <= listed
    assert not listed & {'sim', 'desktop', 'robot'}
    absent, where = lines[-1].removeprefix('not on this machine: ').split('; ')
    assert {'sim', 'desktop', 'robot'} <= set(absent.split(', '))
    assert 'tools/env rl_edge' in where

    assert main(['ba']) == 2
    error = capsys.readouterr().err
    assert not {'sim', 'desktop'} & set(
        error.partition('there are ')[2].partition(';')[0].split(', ')
    )
    assert lines[-1] in error
