"""Write config/NODE.yaml of every node from the dataclass of its parameters, or check it.

``python -m rl_edge_bringup parameters`` writes the files of the checkout; with ``--check`` it
names those that differ and ends with 1.
"""

from collections.abc import Sequence
from pathlib import Path

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import write_atomically
from rl_edge_core.model_files import workspace_folder
from rl_edge_core.parameters import node_parameters, registered_nodes, settings_of, to_yaml


def main(words: Sequence[str]) -> int:
    """Write or check the files; return the exit code."""
    if list(words) not in ([], ['--check']):
        raise ConfigurationError(f'parameters takes --check or nothing, not {" ".join(words)}')
    checkout = workspace_folder()
    if checkout is None:
        raise ConfigurationError('parameter files are written in a checkout, which is not here')
    changed = {
        path: text
        for path, text in parameter_files(checkout).items()
        if not path.is_file() or path.read_text() != text
    }
    for path, text in changed.items():
        print(f'{path} {"differs" if words else "written"}')
        if not words:
            write_atomically(path, text)
    return 1 if words and changed else 0


def parameter_files(checkout: Path) -> dict[Path, str]:
    """Return path and content of the parameter file of each installed node of the checkout."""
    files = {}
    for executable, entry_point in registered_nodes().items():
        package = checkout / 'src' / str(entry_point.dist.name if entry_point.dist else '')
        if package.is_dir():
            text = to_yaml(executable, settings_of(node_parameters(executable)))
            files[package / 'config' / f'{executable}.yaml'] = text
    return files
