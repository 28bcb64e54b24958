"""Run the fault matrix and write what happened."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rl_edge_bringup.arguments import Argument, Values
from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import UNTRAINED
from rl_edge_bringup.untrained import ensure_untrained
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ensure_folder
from rl_edge_experiments.experiment import Experiment
from rl_edge_experiments.faults.fault import BOTH, REALTIME, Fault
from rl_edge_experiments.faults.matrix import FAULTS
from rl_edge_experiments.judgement import judge_settled
from rl_edge_experiments.network import missing_rights
from rl_edge_experiments.result_files import describe_machine, write_json
from rl_edge_experiments.rig import (
    ENVIRONMENT,
    Rig,
    running_loop,
)
from rl_edge_experiments.two_hosts import CUT_ALONE, CUT_FILE

DEFAULT_DOMAIN_ID = 91
NETWORK_CUT = 'network cut between two hosts'


@dataclass(frozen=True)
class Row:
    """What one fault came to."""

    name: str
    mode: str
    expected: str
    happened: str
    lost: int
    passed: bool
    steps: int = 0
    duration_sec: float = 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return what stands in faults.json."""
        name = f'{self.name}, {self.mode}'
        return {**vars(self), 'name': name, 'duration_sec': round(self.duration_sec, 1)}


def chosen_faults(text: str) -> tuple[Fault, ...]:
    """Return the faults with ``text`` in their names; raise ConfigurationError for none."""
    found = tuple(fault for fault in FAULTS if text.lower() in fault.name.lower())
    if not found and text.lower() not in NETWORK_CUT:
        names = '; '.join(fault.name for fault in FAULTS)
        raise ConfigurationError(f'only is {text!r}, no fault has that in its name: {names}')
    return found


def run_matrix(
    faults: Iterable[Fault],
    modes: Iterable[str],
    folder: Path,
    *,
    domain_id: int,
    console: Console,
) -> list[Row]:
    """Run ``faults`` in each of ``modes``; a failed one is followed by a fresh loop."""
    model = ensure_untrained(ENVIRONMENT, '', results_folder() / UNTRAINED)
    rows: list[Row] = []
    for mode in modes:
        waiting = [fault for fault in faults if mode in fault.modes]
        while waiting:
            with running_loop(folder=folder, model=model, mode=mode, domain_id=domain_id) as rig:
                while waiting:
                    row = run_fault(waiting.pop(0), rig)
                    rows.append(row)
                    console.print(_line(row), highlight=False, soft_wrap=True)
                    if not row.passed:
                        break
    return rows


def run_fault(fault: Fault, rig: Rig) -> Row:
    """Put one fault into a loop that runs steadily, and judge what was seen of it."""
    if fault.needs_root and os.geteuid() != 0:
        return Row(fault.name, rig.mode, fault.expected, 'skipped: needs root', 0, True)
    began = time.monotonic()
    since = None
    with rig.watched() as observer:
        try:
            rig.wait_until_steady('the loop runs before the fault')
            since = rig.since = rig.newest_observation()
            happened, passed = fault.put(rig), True
        except Exception as error:  # one row: the other faults are run all the same
            happened, passed = f'{type(error).__name__}: {error}', False
        judgement = judge_settled(observer, since)
    if judgement.outside or judgement.doubled or (judgement.lost and not fault.may_lose):
        passed = False
        happened += (
            f'; BUT {judgement.outside} actions outside their limits, {judgement.doubled} '
            f'transitions doubled, {judgement.lost} lost'
        )
    return Row(
        fault.name,
        rig.mode,
        fault.expected,
        happened,
        judgement.lost,
        passed,
        judgement.steps,
        time.monotonic() - began,
    )


def run_network_cut(folder: Path, *, domain_id: int) -> Row:
    """Cut the link between simulator and policy, which stand on two hosts, and mend it."""
    expected = 'safe action, report, recovery; nothing is started again'
    if reason := missing_rights():
        return Row(NETWORK_CUT, REALTIME, expected, f'skipped: {reason}', 0, True)
    began = time.monotonic()
    # In a process of its own: the middleware looks at the network interfaces once a process.
    command = [sys.executable, '-m', 'rl_edge_bringup', 'two_hosts', f'parts:={CUT_ALONE}']
    command += [f'environment_id:={ENVIRONMENT}', f'ros_domain_id:={domain_id}']
    command += [f'output:={folder}']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    passed = done.returncode == 0
    if passed:
        cut = json.loads((folder / CUT_FILE).read_text())['cut']
        happened = (
            f'cut for {cut["cut_sec"]} s: {cut["safe_actions"]} safe actions, reported '
            f'{cut["report"]!r}; the policy acted again {cut["recovered_after_sec"]} s after'
        )
    else:
        happened = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
    duration_sec = time.monotonic() - began
    return Row(NETWORK_CUT, REALTIME, expected, happened, 0, passed, duration_sec=duration_sec)


def _line(row: Row) -> str:
    sign = 'passed' if row.passed else 'FAILED'
    return f'{sign}  {row.name}, {row.mode} ({row.duration_sec:.0f} s): {row.happened}'


def run_faults(values: Values) -> int:
    """Run the matrix, write faults.json and faults.md; return 1 when a fault has failed."""
    console = Console(file=sys.stdout)
    folder = ensure_folder(Path(str(values['output'] or results_folder())).expanduser())
    modes = BOTH if values['mode'] == 'both' else (str(values['mode']),)
    faults = chosen_faults(str(values['only']))
    runs = ensure_folder(folder / 'faults')
    rows = run_matrix(faults, modes, runs, domain_id=int(values['ros_domain_id']), console=console)
    if str(values['only']).lower() in NETWORK_CUT and REALTIME in modes:
        rows.append(run_network_cut(runs, domain_id=int(values['ros_domain_id'])))
        console.print(_line(rows[-1]), highlight=False, soft_wrap=True)
    content = {
        'faults': [row.to_mapping() for row in rows],
        'passed': sum(row.passed for row in rows),
        'machine': describe_machine(),
    }
    write_json(folder / 'faults.json', content)
    (folder / 'faults.md').write_text(to_markdown(rows))
    console.print(_table(rows))
    console.print(f'{content["passed"]} of {len(rows)} passed; written: {folder / "faults.json"}')
    return 0 if content['passed'] == len(rows) else 1


def to_markdown(rows: Iterable[Row]) -> str:
    """Return the matrix as a Markdown table."""
    lines = ['| fault | mode | expected | happened | lost | passed |', '|---|---|---|---|---|---|']
    for row in rows:
        happened = row.happened.replace('|', '/').replace('\n', ' ')
        cells = (
            row.name,
            row.mode,
            row.expected,
            happened,
            row.lost,
            'yes' if row.passed else 'NO',
        )
        lines.append(f'| {" | ".join(map(str, cells))} |')
    return '\n'.join(lines) + '\n'


def _table(rows: Iterable[Row]) -> Table:
    table = Table('fault', 'mode', 'happened', 'lost', 'passed')
    for row in rows:
        table.add_row(
            row.name, row.mode, row.happened[:160], str(row.lost), 'yes' if row.passed else 'NO'
        )
    return table


FAULT_MATRIX = Experiment(
    name='faults',
    description='break the running system in every way of the fault matrix',
    arguments=(
        Argument('only', '', 'run only the faults with this in their names'),
        Argument('mode', 'both', 'mode of the loop', choices=('both', *BOTH)),
        Argument('ros_domain_id', DEFAULT_DOMAIN_ID, 'ROS domain of the loops', minimum=0),
        Argument('output', '', 'folder for the results; empty for results/'),
    ),
    run=run_faults,
)
