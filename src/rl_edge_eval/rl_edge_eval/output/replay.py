"""``python -m rl_edge_eval replay``: recorded observations through other models."""

import argparse

from rich.console import Console

from rl_edge_core.errors import ConfigurationError
from rl_edge_eval.output.columns import (
    STANDARD_OUTPUT,
    make_console,
    number,
    text_table,
    write_json,
)
from rl_edge_eval.replay import Agreement, Parting, Replay, replay
from rl_edge_policy.load import load_policy


def run(arguments: argparse.Namespace) -> int:
    """Replay the bag through the models and print how far they agree."""
    if not arguments.threshold > 0:
        raise ConfigurationError(f'--threshold is {arguments.threshold}, must be above 0')
    policies = [(path, load_policy(path, runtime=arguments.runtime)) for path in arguments.models]
    outcome = replay(arguments.bag, policies, robot=arguments.robot, threshold=arguments.threshold)
    console = make_console(data_on_stdout=arguments.json == STANDARD_OUTPUT)
    _print(console, outcome)
    if arguments.json:
        write_json(arguments.json, outcome)
    return 0


def _print(console: Console, outcome: Replay) -> None:
    console.print(
        f'[bold]{outcome.bag}[/bold] {outcome.robot}: {outcome.steps} steps', highlight=False
    )
    models = [
        (model.name, model.runtime, str(model.act_us), str(model.rejected))
        for model in outcome.models
    ]
    headings = ('model', 'runtime', 'act us p50/p99/max', 'rejected')
    console.print(text_table(headings, models, title='models'))
    for agreement in outcome.agreements:
        _print_agreement(console, agreement, outcome.threshold)
    for note in outcome.notes:
        console.print(f'  [yellow]note[/yellow] {note}', highlight=False)


def _print_agreement(console: Console, agreement: Agreement, threshold: float) -> None:
    values = (agreement.rmse, agreement.max_difference, agreement.correlation)
    rows = [
        (name, *map(number, row)) for name, *row in zip(agreement.joints, *values, strict=True)
    ]
    title = f'{agreement.second} against {agreement.first}, {agreement.steps} steps'
    console.print(text_table(('action', 'RMSE', 'maximum', 'correlation'), rows, title=title))
    share = 100.0 * agreement.parted_steps / max(agreement.steps, 1)
    console.print(
        f'all joints RMSE {number(agreement.rmse_all)}; further apart than {threshold:g} on '
        f'{agreement.parted_steps} steps ({share:.1f} %); first {_place(agreement.parts_first)}; '
        f'most {_place(agreement.parts_most)}',
        highlight=False,
    )


def _place(parting: Parting | None) -> str:
    if parting is None:
        return 'nowhere'
    return (
        f'episode {parting.episode} step {parting.step} {parting.joint} '
        f'({number(parting.first)} against {number(parting.second)})'
    )
