"""Run the fault cases of tests/faults with pytest, which writes faults.json and faults.md."""

import subprocess
import sys

from rl_edge_bringup.models import results_folder
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ensure_folder, user_path
from rl_edge_core.model_files import workspace_folder
from rl_edge_core.parameters import Setting, Values
from rl_edge_experiments.experiment import OUTPUT, Experiment

DEFAULT_DOMAIN_ID = 91
_NOTHING_SELECTED = 5


def run_faults(values: Values) -> int:
    """Run the chosen cases; return 0 when all have passed, else pytest's exit code.

    Raise ConfigurationError without a checkout, and when no fault has the name that was given.
    """
    checkout = workspace_folder()
    cases = checkout / 'tests' / 'faults' if checkout else None
    if checkout is None or cases is None or not cases.is_dir():
        raise ConfigurationError(
            'the fault cases are in tests/faults of the checkout, which is not here: clone the '
            'repository and use make faults'
        )
    folder = ensure_folder(user_path(str(values['output'] or results_folder())))
    command = [sys.executable, '-m', 'pytest', '-q', '--tb=short', '-m', 'faults', str(cases)]
    options = {
        'only': values['only'],
        'mode': values['mode'],
        'domain': values['ros_domain_id'],
        'output': folder.resolve(),
    }
    command += [f'--faults-{name}={value}' for name, value in options.items()]
    exit_code = subprocess.run(command, cwd=checkout, check=False).returncode
    if exit_code == _NOTHING_SELECTED:
        raise ConfigurationError(f'only is {values["only"]!r}, no fault has that in its name')
    return exit_code


EXPERIMENT = Experiment(
    arguments=(
        Setting(
            'only',
            '',
            'run only the faults with one of these, separated by commas, in their names',
        ),
        Setting('mode', 'both', 'mode of the loop', choices=('both', 'lockstep', 'realtime')),
        Setting('ros_domain_id', DEFAULT_DOMAIN_ID, 'ROS domain of the loops', minimum=0),
        OUTPUT,
    ),
    run=run_faults,
)
