"""Training metrics: CSV files that survive a stop at any moment, and the curve drawn of them."""

import csv
import io
from collections import deque
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.files import storage_errors, write_atomically
from rl_edge_train.vector_environment import FinishedEpisode

EPISODE_WINDOW = 50
PICTURE = 'learning_curve.png'
TABLE = 'learning_curve.csv'


class CsvLog:
    """Append rows to a CSV file with a `steps` column."""

    def __init__(self, path: Path) -> None:
        """Append to `path`, whose header stays if it is there already."""
        self.path = path

    def append(self, row: Mapping[str, float | int | str]) -> None:
        """Write one row; columns that the header lacks yet are added to the file."""
        texts = {n: f'{v:.6g}' if isinstance(v, float) else str(v) for n, v in row.items()}
        columns = self._columns()
        if set(texts) - set(columns):
            columns += [name for name in texts if name not in columns]
            write_atomically(self.path, _csv_text(columns, self.rows()))
        with storage_errors(self.path), self.path.open('a', newline='') as file:
            csv.DictWriter(file, columns, restval='', lineterminator='\n').writerow(texts)

    def cut_after(self, steps: int) -> None:
        """Remove rows past `steps`, as a killed run leaves them behind its checkpoint."""
        if self.path.exists():
            kept = [row for row in self.rows() if int(row['steps']) <= steps]
            write_atomically(self.path, _csv_text(self._columns(), kept))

    def rows(self) -> list[dict[str, str]]:
        """Return the rows as text by column; a last row that a kill cut short is left out."""
        if not self.path.exists():
            return []
        with self.path.open(newline='') as file:
            lines = file.readlines()
        whole = [line for line in lines if line.endswith('\n')]
        return list(csv.DictReader(whole))

    def _columns(self) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open(newline='') as file:
            return next(csv.reader(file), [])


def _csv_text(columns: list[str], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class EpisodeWindow:
    """Means over the newest training episodes."""

    def __init__(self) -> None:
        self._episodes: deque[FinishedEpisode] = deque(maxlen=EPISODE_WINDOW)

    def add(self, episodes: list[FinishedEpisode]) -> None:
        """Take finished episodes in."""
        self._episodes.extend(episodes)

    def state(self) -> list[list[float]]:
        """Return the episodes as JSON values."""
        return [list(astuple(episode)) for episode in self._episodes]

    def load_state(self, state: list[list[Any]]) -> None:
        """Take over what `state` returned."""
        self._episodes.clear()
        self._episodes.extend(FinishedEpisode(*values) for values in state)

    def means(self) -> dict[str, float]:
        """Return mean return, distance in m and length in steps; NaN without episodes."""
        episodes = self._episodes
        if not episodes:
            return dict.fromkeys(('episode_return', 'distance_m', 'episode_length'), np.nan)
        return {
            'episode_return': float(np.mean([e.episode_return for e in episodes])),
            'distance_m': float(np.mean([e.distance for e in episodes])),
            'episode_length': float(np.mean([e.length for e in episodes])),
        }


class MetricMeans:
    """Means of the losses since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take the losses of one iteration in."""
        if metrics:
            self._count += 1
            for name, value in metrics.items():
                self._sums[name] = self._sums.get(name, 0.0) + value

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON values."""
        return {'sums': self._sums, 'count': self._count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self._sums, self._count = dict(state['sums']), state['count']

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means


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
