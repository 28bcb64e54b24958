"""The page on algorithms names code that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'src' / 'rl_edge_train' / 'rl_edge_train'
PAGE = (ROOT / 'docs' / 'algorithms.md').read_text()
FUNCTIONS = sorted(set(re.findall(r'`(\w+)\.(\w+)(?:\.(\w+))?`', PAGE)))
FILES = sorted(set(re.findall(r'`(algorithms/\w+\.py)`', PAGE)))


def definitions(module):
    tree = ast.parse((PACKAGE / f'{module}.py').read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {
                part.name for part in node.body if isinstance(part, ast.FunctionDef)
            }
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = set()
    return found


@pytest.mark.parametrize(('module', 'name', 'method'), FUNCTIONS)
def test_a_function_that_the_page_names_exists(module, name, method):
    found = definitions(module)
    assert name in found
    assert not method or method in found[name]


def test_every_algorithm_has_its_place_on_the_page():
    there = {f'algorithms/{path.name}' for path in (PACKAGE / 'algorithms').glob('*.py')}
    helpers = {f'algorithms/{name}.py' for name in ('__init__', 'base', 'registry')}
    assert set(FILES) == there - helpers


@pytest.mark.parametrize(
    'idea',
    [
        'Return',
        'Markov',
        'Bellman',
        'Value functions',
        'Q-learning',
        'DQN',
        'Replay',
        'Target network',
        'DPG',
        'DDPG',
        'TD3',
        'SAC',
        'Advantage',
        'actor-critic',
        'GAE',
        'PPO',
    ],
)
def test_every_idea_of_the_study_is_explained(idea):
    assert re.search(rf'\*\*[^*]*{idea}', PAGE)
