"""All benchmarks in one run: results/bench.json and a table beside what must be reached."""

import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rl_edge_bringup.arguments import Argument, Values
from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import ModelRequest, choose_model
from rl_edge_core.results import (
    describe_machine,
    result_folder,
    write_json,
)
from rl_edge_experiments.bench.inference import measure_inference
from rl_edge_experiments.bench.lockstep import measure_lockstep
from rl_edge_experiments.bench.policy_process import measure_policy_process
from rl_edge_experiments.experiment import Experiment

RESULT_FILE = 'bench.json'
GOALS = (
    ('inference', 'full_over_compressed', 'at least 60'),
    ('inference', 'compressed_over_interpreter', 'at most 2'),
    ('inference', 'keras_call_over_compressed', ''),
    ('lockstep', 'share_of_limit', 'at least 0.75'),
    ('lockstep', 'steps_per_s', ''),
    ('lockstep', 'limit_steps_per_s', ''),
    ('policy_process', 'memory_over_floor', 'at most 1.15'),
    ('policy_process', 'start_speedup', 'at least 6'),
)


def run_bench(values: Values) -> int:
    """Measure everything, print it beside the goals, write bench.json.

    Raise StorageError or ArtifactError before anything runs.
    """
    console = Console()
    folder = result_folder(Path(str(values['output'] or results_folder())).expanduser())
    model = choose_model(ModelRequest('compressed', str(values['model'])))
    rounds = int(values['rounds'])
    console.print(f'model: {model.model_id} {model.note}'.strip())
    if importlib.util.find_spec('onnxruntime') is None:
        console.print('onnxruntime is not installed (extra onnx): it is left out')
    result: dict[str, Any] = {'model': model.to_mapping(), 'machine': describe_machine()}
    with tempfile.TemporaryDirectory(prefix='rl_edge_bench_') as scratch:
        for name, measure in (
            ('inference', lambda: measure_inference(model.folder, rounds=rounds)),
            (
                'lockstep',
                lambda: measure_lockstep(model.folder, rounds=rounds, output=Path(scratch)),
            ),
            (
                'policy_process',
                lambda: measure_policy_process(model.folder, rounds=rounds, output=Path(scratch)),
            ),
        ):
            with console.status(f'{name}: {rounds} rounds'):
                result[name] = measure()
            console.print(f'{name}: done')
    write_json(folder / RESULT_FILE, result)
    console.print(_table(result))
    console.print(f'written: {folder / RESULT_FILE}', soft_wrap=True)
    return 0


BENCH = Experiment(
    name='bench',
    description='inference, the loop over ROS 2, memory and start-up beside their limits',
    arguments=(
        Argument('model', '', 'artifact folder or name under models/; empty for ant_v5/best'),
        Argument('rounds', 5, 'times that everything has its turn', minimum=1),
        Argument('output', '', 'folder for bench.json; empty for results'),
    ),
    run=run_bench,
)


def _table(result: Mapping[str, Any]) -> Table:
    table = Table(title='median over the rounds, and their quartiles')
    for heading in ('', 'measured', 'quartiles', 'goal'):
        table.add_column(heading, justify='left' if not heading else 'right')
    for section, key, goal in GOALS:
        low, high = result[section]['quartiles'][key]
        table.add_row(
            f'{section}.{key}', f'{result[section][key]:.4g}', f'{low:.4g} to {high:.4g}', goal
        )
    table.add_section()
    times = result['inference']['us']
    for name in (name for name in times if name != 'quartiles'):
        low, high = times['quartiles'][name]
        table.add_row(f'{name} (us)', f'{times[name]:.3g}', f'{low:.3g} to {high:.3g}', '')
    return table
