"""All benchmarks in one run: results/bench.json and a table beside what must be reached."""

import importlib.util
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rl_edge_bringup.models import ModelRequest, choose_model
from rl_edge_compress.benchmark import Candidate, candidates, time_in_turns
from rl_edge_compress.timing_worker import BARE_INTERPRETER, KERAS_CALL, KERAS_GRAPH
from rl_edge_core.artifact import FULL_RECIPE, load_manifest
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.results import describe_machine, write_json
from rl_edge_eval.output.columns import text_table
from rl_edge_experiments.bench import section
from rl_edge_experiments.bench.lockstep import measure_lockstep
from rl_edge_experiments.bench.policy_process import measure_policy_process
from rl_edge_experiments.experiment import Experiment, output_folder
from rl_edge_policy.runtimes import choose_runtime

RESULT_FILE = 'bench.json'
GOALS = (
    ('inference', 'full_over_compressed', 'at least 60'),
    ('inference', 'compressed_over_interpreter', 'at most 1.5'),
    ('inference', 'keras_call_over_compressed', ''),
    ('lockstep', 'share_of_limit', 'at least 0.80'),
    ('lockstep', 'steps_per_s', ''),
    ('lockstep', 'limit_steps_per_s', ''),
    ('policy_process', 'memory_over_floor', 'at most 1.10'),
    ('policy_process', 'start_speedup', 'at least 6'),
)
_TURNS = 20
"""In a round, of everything that is timed."""
_OBSERVATIONS = 10


def run_bench(values: Values) -> None:
    """Measure everything, print it beside the goals, write bench.json.

    Raise StorageError or ArtifactError before anything runs.
    """
    console = Console()
    folder = output_folder(values)
    model = choose_model(ModelRequest('compressed', str(values['model'])))
    rounds = int(values['rounds'])
    console.print(f'model: {model.model_id} {model.note}'.strip())
    if importlib.util.find_spec('onnxruntime') is None:
        console.print('onnxruntime is not installed (extra onnx): it is left out')
    result: dict[str, Any] = {'model': model.to_mapping(), 'machine': describe_machine()}
    with tempfile.TemporaryDirectory(prefix='rl_edge_bench_') as scratch:
        output = Path(scratch)
        for name, measure in (
            ('inference', measure_inference),
            ('lockstep', partial(measure_lockstep, output=output)),
            ('policy_process', partial(measure_policy_process, output=output)),
        ):
            with console.status(f'{name}: {rounds} rounds'):
                result[name] = measure(model.folder, rounds=rounds)
            console.print(f'{name}: done')
    write_json(folder / RESULT_FILE, result)
    console.print(_table(result))
    console.print(f'wrote {folder / RESULT_FILE}', soft_wrap=True)


def measure_inference(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Return the section ``inference`` of bench.json: every form of every file in turns."""
    manifest = load_manifest(folder)
    size = manifest.environment.observation_size
    observations = np.random.default_rng(0).normal(0, 0.5, (_OBSERVATIONS, size))
    turns = rounds * _TURNS
    times, left_out = time_in_turns(
        folder, candidates(manifest), observations.astype(np.float32), turns=turns
    )
    recipe = manifest.compressed_recipe()
    runtime = choose_runtime(manifest.entry(recipe), 'auto').name
    compressed = Candidate(runtime, recipe)
    policy, interpreter, graph, call = (
        times[candidate]
        for candidate in (
            compressed,
            Candidate(runtime, recipe, BARE_INTERPRETER),
            Candidate('keras', FULL_RECIPE, KERAS_GRAPH),
            Candidate('keras', FULL_RECIPE, KERAS_CALL),
        )
    )
    return section(
        {
            # Ratios are taken turn by turn, before the median.
            'full_over_compressed': graph / policy,
            'compressed_over_interpreter': policy / interpreter,
            'keras_call_over_compressed': call / policy,
        },
        compressed=str(compressed),
        us=section({str(candidate): taken for candidate, taken in times.items()}),
        left_out=left_out,
        turns=turns,
    )


def _table(result: Mapping[str, Any]) -> Table:
    rows = []
    for name, key, goal in GOALS:
        low, high = result[name]['quartiles'][key]
        value = f'{result[name][key]:.4g}'
        rows.append((f'{name}.{key}', value, f'{low:.4g} to {high:.4g}', goal))
    times = result['inference']['us']
    for name, (low, high) in times['quartiles'].items():
        rows.append((f'{name} (us)', f'{times[name]:.3g}', f'{low:.3g} to {high:.3g}', ''))
    title = 'median over the rounds, and their quartiles'
    return text_table(('', 'measured', 'quartiles', 'goal'), rows, title=title)


EXPERIMENT = Experiment(
    arguments=(
        Setting('model', '', 'artifact folder or name under models/; empty for ant_v5/best'),
        Setting('rounds', 5, 'times that everything has its turn', minimum=1),
        Setting('output', '', 'folder for bench.json; empty for results'),
    ),
    run=run_bench,
)
