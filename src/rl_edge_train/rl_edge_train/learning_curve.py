"""The learning curve of a run as CSV and picture: return and forward distance over the steps."""

from pathlib import Path

import numpy as np

from rl_edge_core.files import write_atomically
from rl_edge_train.metrics import CsvLog

PICTURE = 'learning_curve.png'
TABLE = 'learning_curve.csv'


def draw_learning_curve(run: Path, *, out: Path | None = None) -> Path | None:
    """Draw the training episodes and evaluations of a run; return the picture, if there is data.

    `out` is the folder for the picture and the evaluations as CSV; the run's own by default.
    """
    training = _columns(CsvLog(run / 'metrics.csv'))
    evaluations = _columns(CsvLog(run / 'evaluations.csv'))
    if not training:
        return None
    folder = out or run
    if (run / 'evaluations.csv').exists():
        write_atomically(folder / TABLE, (run / 'evaluations.csv').read_bytes())
    path = folder / PICTURE
    write_atomically(path, lambda temporary: _draw(training, evaluations, temporary))
    return path


def _columns(log: CsvLog) -> dict[str, np.ndarray]:
    rows = log.rows()
    if not rows:
        return {}
    names = ('steps', 'episode_return', 'distance_m', 'averaged')
    return {name: np.array([float(row.get(name) or 'nan') for row in rows]) for name in names}


def _draw(training: dict[str, np.ndarray], evaluations: dict[str, np.ndarray], path: Path) -> None:
    from matplotlib.figure import Figure

    labels = {'episode_return': 'return'}
    if np.isfinite(training['distance_m']).any():
        labels['distance_m'] = 'forward distance (m)'
    figure = Figure(figsize=(8, 1.5 + 2 * len(labels)), dpi=100, layout='constrained')
    panels = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    longest = training['steps'].max()
    unit, scale = ('millions', 1e6) if longest >= 1e6 else ('thousands', 1e3)
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        axes.plot(
            training['steps'] / scale, training[name], color='0.65', label='training, exploring'
        )
        for is_averaged, series in ((False, 'evaluation'), (True, 'evaluation, averaged weights')):
            rows = (evaluations['averaged'] == 1.0) == is_averaged if evaluations else []
            if np.any(rows):
                steps = evaluations['steps'][rows] / scale
                axes.plot(steps, evaluations[name][rows], marker='.', label=series)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend()
    panels[-1].set_xlabel(f'environment steps ({unit})')
    figure.savefig(path)
