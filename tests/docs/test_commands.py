"""Every command of the pages parses, and every path that they name exists."""

import contextlib
import functools
import importlib
import importlib.util
import io
import re
import shlex
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location('pages', Path(__file__).with_name('pages.py'))
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

ROOT = pages.ROOT
STARTS = ('make ', 'tools/', 'docker/', 'rl_edge ', 'python -m rl_edge', 'ros2 launch rl_edge')
FOLDERS = ('docker', 'docs', 'examples', 'models', 'src', 'tests', 'tools')
PLACEHOLDERS = re.compile(r'\.\.\.|[<>*{}$]|[A-Z]{4}')


def commands():
    """Return (page, command) for each command in code blocks and inline code."""
    found = []
    for page, text in pages.pages().items():
        lines = []
        for block in pages.code_blocks(text):
            joined = re.sub(r'\\\n\s*', ' ', block)
            lines += [re.sub(r'(^|\s+)#.*$', '', line).strip() for line in joined.splitlines()]
        lines += re.findall(r'(?<!`)`([^`\n]+)`(?!`)', text)
        for line in lines:
            for part in re.split(r'\s+(?:&&|;|\|)\s+', line):
                command = re.sub(r'^(?:sudo |[A-Z][A-Z_]*=\S* )+', '', part.strip())
                command = re.sub(r'\[|\]|\.\.\.', '', command)
                if command.startswith(STARTS) and '*' not in command:
                    found.append((page, command))
    return sorted(set(found))


@functools.cache
def help_of(name):
    """Return what ``rl_edge NAME --help`` prints."""
    from rl_edge_core.command import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        assert main([name, '--help']) == 0, printed.getvalue()
    return printed.getvalue()


@functools.cache
def make_targets():
    return set(re.findall(r'^([a-z0-9-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))


def check(words):
    """Check one command, following tools/env to the command that it runs."""
    program, rest = words[0], words[1:]
    if program == 'make':
        for word in rest:
            assert word in make_targets() or '=' in word, f'make has no target {word}'
    elif program == 'tools/env':
        while rest[:1] == ['--with']:
            extra = ROOT / 'tools' / 'requirements' / 'extras' / f'{rest[1]}.in'
            assert rest[1] == 'EXTRA' or extra.exists(), f'no extra is called {rest[1]}'
            rest = rest[2:]
        if rest and rest[0] not in ('--build', '--help'):
            check(rest)
    elif program == 'rl_edge':
        check_rl_edge(rest)
    elif program == 'python':
        if rest[:1] == ['-m'] and rest[1].startswith('rl_edge'):
            assert importlib.util.find_spec(rest[1]), f'no module {rest[1]}'
    elif program == 'ros2':
        package, file, *arguments = rest[1:]
        launch = ROOT / 'src' / package / 'launch' / file
        assert launch.exists(), f'there is no {launch}'
        check_rl_edge([file.partition('.')[0], *(a for a in arguments if a != '--show-args')])
    elif '/' in program:
        assert (ROOT / program).exists(), f'there is no {program}'


def check_rl_edge(words):
    """Check that a command of rl_edge exists and knows its arguments."""
    if not words or words[0].startswith('-'):
        return
    name, rest = words[0], words[1:]
    text = help_of(name)
    for word in rest:
        flag = re.match(r'--[a-z-]+', word)
        argument = re.match(r'(\w+):=', word)
        if flag and flag[0] != '--help':
            assert re.search(rf'{flag[0]}\b', text), f'rl_edge {name} has no {flag[0]}'
        if argument and word != 'key:=value':
            assert re.search(rf'\b{argument[1]}\b', text), f'rl_edge {name} has no {argument[1]}:='


@pytest.mark.parametrize(('page', 'command'), commands())
def test_a_command_parses(page, command):
    try:
        words = shlex.split(command)
    except ValueError:
        pytest.fail(f'no shell would take it: {command}')
    check(words)


def paths():
    """Return (page, path) for each path below one of our folders that a page names."""
    found = set()
    for page, text in pages.pages().items():
        spans = re.findall(r'(?<!`)`([^`\n]+)`(?!`)', text) + pages.code_blocks(text)
        for word in re.split(r'[^\w./<>*{}$-]+', ' '.join(spans), flags=re.ASCII):
            word = word.rstrip('.')
            if word.partition('/')[0] in FOLDERS and '/' in word and not PLACEHOLDERS.search(word):
                found.add((page, word))
    return sorted(found)


@pytest.mark.parametrize(('page', 'path'), paths())
def test_a_path_exists(page, path):
    assert (ROOT / path).exists(), f'{page} names {path}, which does not exist'


def test_there_is_something_to_check():
    assert len(commands()) > 20
    assert len(paths()) > 10
