"""Options: what is not one is answered with the one that was meant."""

import pytest

from rl_edge_core.argument_parser import ArgumentParser


@pytest.fixture
def parser():
    parser = ArgumentParser(prog='rl_edge')
    commands = parser.add_subparsers(required=True)
    evaluate = commands.add_parser('evaluate')
    evaluate.add_argument('model')
    evaluate.add_argument('--episodes', type=int, default=100)
    evaluate.add_argument('--first-seed', type=int)
    commands.add_parser('export')
    return parser


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--epsiodes', '3'), 'unrecognized arguments: --epsiodes 3 (did you mean --episodes?)'),
        (('--epsiodes=3',), 'unrecognized arguments: --epsiodes=3 (did you mean --episodes?)'),
        (('episodes:=3',), 'unrecognized arguments: episodes:=3 (write --episodes 3)'),
        (('first_seed:=3',), 'unrecognized arguments: first_seed:=3 (write --first-seed 3)'),
        (('mode:=realtime',), 'unrecognized arguments: mode:=realtime (not name:=value)'),
        (('--colour', 'red'), 'unrecognized arguments: --colour red\n'),
    ],
)
def test_a_word_that_is_no_option_is_refused_by_the_command_itself(parser, capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(['evaluate', 'best', *words])

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f'rl_edge evaluate: error: {message}' in said
    assert '[--episodes EPISODES]' in said  # the usage of the command, not of all of them


def test_what_is_right_is_parsed_as_ever(parser):
    parsed = parser.parse_args(['evaluate', 'best', '--episodes', '3'])

    assert (parsed.model, parsed.episodes) == ('best', 3)
