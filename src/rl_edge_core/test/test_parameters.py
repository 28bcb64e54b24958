import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.parameters import (
    Setting,
    check_names,
    parse_arguments,
    parse_pairs,
    to_text,
)

MODE = Setting('mode', 'lockstep', 'how', choices=('lockstep', 'realtime'))
EPISODES = Setting('episodes', 0, 'how many', minimum=0)
FACTOR = Setting('real_time_factor', 1.0, 'how fast', minimum=0.001)
CLOCK = Setting('publish_clock', False, 'whether')
ARGUMENTS = (MODE, EPISODES, FACTOR, CLOCK)


def test_values_have_the_type_of_the_default():
    given = {'episodes': '3', 'real_time_factor': '2', 'publish_clock': 'True'}

    values = parse_arguments(ARGUMENTS, given)

    assert values == {
        'mode': 'lockstep',
        'episodes': 3,
        'real_time_factor': 2.0,
        'publish_clock': True,
    }
    assert isinstance(values['real_time_factor'], float)


@pytest.mark.parametrize(
    ('argument', 'text', 'message'),
    [
        (
            MODE,
            'lockstop',
            r"mode is 'lockstop', must be one of lockstep, realtime \(did you mean",
        ),
        (EPISODES, '-1', "episodes is '-1', must be a whole number, 0 or more"),
        (EPISODES, '2.5', 'a whole number'),
        (EPISODES, '', 'a whole number'),
        (FACTOR, '0', 'a number, 0.001 or more'),
        (FACTOR, 'nan', 'a number'),
        (FACTOR, 'inf', 'a number'),
        (CLOCK, 'yes', "publish_clock is 'yes', must be true or false"),
    ],
)
def test_an_invalid_value_is_an_error_that_says_what_is_valid(argument, text, message):
    with pytest.raises(ConfigurationError, match=message):
        argument.parse(text)


def test_an_unknown_name_is_an_error_that_lists_the_valid_ones_and_the_closest():
    with pytest.raises(ConfigurationError) as error:
        check_names(ARGUMENTS, ['epsodes'])

    assert str(error.value) == (
        "unknown argument 'epsodes' (did you mean episodes?); "
        'valid are mode, episodes, real_time_factor, publish_clock'
    )


def test_of_repeated_names_the_last_one_wins():
    assert parse_pairs(['a:=1', 'b:=', 'a:=x:=y']) == {'a': 'x:=y', 'b': ''}


@pytest.mark.parametrize('word', ['episodes=3', 'episodes', ':=3', '--episodes'])
def test_a_word_of_another_form_is_an_error(word):
    with pytest.raises(ConfigurationError, match='name:=value'):
        parse_pairs([word])


def test_every_default_can_be_written_and_read_back():
    for argument in ARGUMENTS:
        assert argument.parse(to_text(argument.default)) == argument.default


@pytest.mark.parametrize(
    ('words', 'meant'),
    [
        (('--episodes', '1'), ': write episodes:=1'),
        (('--real-time-factor=2',), ': write real_time_factor:=2'),
        (('episodes=1',), ': write episodes:=1'),
        (('episodes:', '1'), ': write episodes:=1'),
        (('--episodes', 'mode:=realtime'), ''),
        (('--episodes',), ''),
        ((':=1',), ''),
    ],
)
def test_an_option_is_answered_with_the_pair_that_was_meant(words, meant):
    with pytest.raises(ConfigurationError) as found:
        parse_pairs(words)

    assert str(found.value) == f'{words[0]!r} is not of the form name:=value{meant}'


@pytest.mark.parametrize('limits', [{'minimum': 0.0}, {'maximum': 1.0}])
def test_nan_is_within_no_limits(limits):
    with pytest.raises(ConfigurationError, match='rate is nan, must be'):
        Setting('rate', 0.5, 'a rate', **limits).check(float('nan'))
