"""What an experiment is to the command line, and how it reads its arguments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rl_edge_bringup import models
from rl_edge_bringup.systems import CONFIGURATIONS, policy_arguments, sim_arguments
from rl_edge_core.errors import ConfigurationError, did_you_mean
from rl_edge_core.files import user_path
from rl_edge_core.parameters import Setting, Value, Values
from rl_edge_core.results import describe_machine, result_folder, write_json
from rl_edge_eval.output.columns import make_console

COMPRESSED, FULL = CONFIGURATIONS
FEWEST_EPISODES = 5
"""A 95 % interval over fewer says nothing."""


@dataclass(frozen=True)
class Experiment:
    """An experiment as `commands` finds it: its module's ``EXPERIMENT``."""

    arguments: tuple[Setting, ...]
    run: Callable[[Values], int | None]
    """Takes a checked value of each argument, returns an exit code where it is not 0."""


ENVIRONMENT = Setting(
    'environment_id', '', 'Gymnasium environment; empty for what the model was made for.'
)
MODEL_ARGUMENTS = (ENVIRONMENT, Setting('model', '', 'artifact; empty for the default one'))
OUTPUT = Setting('output', '', 'folder for the results; empty for results/')


def system_arguments(*names: str) -> tuple[Setting, ...]:
    """Return those arguments of the system ``sim`` that an experiment passes on."""
    of_sim = sim_arguments(environment_id={'default': '', 'description': ENVIRONMENT.description})
    return tuple(one for one in (*of_sim, *policy_arguments()) if one.name in names)


def with_environment_of(model: models.ChosenModel, values: Values) -> dict[str, Value]:
    """Return ``values`` with the environment that runs: what was asked for, else the model's."""
    found = models.environment_of(model, values).items()
    return {**values, **{name: value for name, value in found if name in values}}


def output_folder(values: Values, name: str = '') -> Path:
    """Return the folder of the argument ``output``, else results/``name``, ready to be written.

    Raise StorageError before anything is run when it can't be.
    """
    return result_folder(user_path(str(values['output'] or models.results_folder() / name)))


def choose(configuration: str, values: Values, model: str | None = None) -> models.ChosenModel:
    """Return the model of one configuration; ``recipe`` is that of the compressed one."""
    return models.choose_model(
        models.ModelRequest(
            configuration=configuration,
            model=str(values['model']) if model is None else model,
            recipe=recipe_of(configuration, values),
            environment_id=str(values['environment_id']),
            environment_arguments=str(values.get('environment_arguments', '')),
        )
    )


def begin(values: Values) -> tuple[Console, Path, models.ChosenModel, dict[str, Value]]:
    """Return what an experiment on the compressed configuration begins with.

    Console, folder of the results, model, and ``values`` with the environment that runs.
    """
    folder, model = output_folder(values), choose(COMPRESSED, values)
    console = make_console(data_on_stdout=False)
    return console, folder, model, with_environment_of(model, values)


def write_result(path: Path, content: Mapping[str, Any], model: models.ChosenModel) -> None:
    """Write what was found as JSON, with the model and the machine that it was found of."""
    facts = {'model': model.to_mapping(), 'machine': describe_machine()}
    write_json(path, {**content, **facts})


def recipe_of(configuration: str, values: Values) -> str:
    """Return the argument ``recipe`` where the configuration is compressed, else nothing."""
    return str(values.get('recipe', '')) if configuration == COMPRESSED else ''


def words_of(name: str, text: str, choices: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the words in ``text``, each once; raise ConfigurationError for other than choices."""
    words = tuple(dict.fromkeys(word for part in text.split(',') if (word := part.strip())))
    if not words:
        raise ConfigurationError(f'{name} is empty, must name one or more, separated by commas')
    for word in words:
        if choices and word not in choices:
            raise ConfigurationError(
                f'{name} has {word!r}{did_you_mean(word, choices)}, must be of '
                f'{", ".join(choices)}'
            )
    return words


def numbers_of(name: str, text: str, *, above: float, most: float) -> tuple[float, ...]:
    """Return the numbers in ``text``, above ``above`` and at most ``most``; raise otherwise."""
    numbers = []
    for word in words_of(name, text):
        try:
            number = float(word)
        except ValueError:
            number = float('nan')
        if not above < number <= most:
            raise ConfigurationError(
                f'{name} has {word!r}, must be numbers above {above:g} and at most {most:g}, '
                f'separated by commas'
            )
        numbers.append(number)
    return tuple(numbers)
