"""Run a loop to its end: metrics, evaluations, checkpoints, the best policy, a clean stop."""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import folder_written_atomically
from rl_edge_train import checkpoint
from rl_edge_train.algorithms.base import Agent
from rl_edge_train.array_archive import below
from rl_edge_train.display import RunDisplay
from rl_edge_train.loops import Loop, LoopReport
from rl_edge_train.metrics import CsvLog, EpisodeWindow, MetricMeans, draw_learning_curve
from rl_edge_train.run_config import RunConfig
from rl_edge_train.selection import SELECTION_SEED, WeightAverage, metrics_of, play
from rl_edge_train.vector_environment import FinishedEpisode, VectorEnvironment


class TrainingError(RlEdgeError):
    """Learning broke down; the last good checkpoint is kept."""


@dataclass
class Progress:
    """What a run remembers besides its loop."""

    best_return: float | None = None
    """Mean return of the best policy so far, over all its selection episodes."""
    seconds: float = 0.0
    """Wall-clock time trained, over all stops and resumes."""


class Runner(contextlib.AbstractContextManager['Runner']):
    """Owns the folder of a run."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        *,
        agent: Agent,
        loop: Loop,
        evaluation_environments: VectorEnvironment,
        display: RunDisplay,
    ) -> None:
        self.config, self.folder = config, folder
        self.agent, self.loop = agent, loop
        self.evaluation_environments = evaluation_environments
        self.display = display
        self.progress = Progress()
        self.metrics = CsvLog(folder / 'metrics.csv')
        self.evaluations = CsvLog(folder / 'evaluations.csv')
        self._window, self._means = EpisodeWindow(), MetricMeans()
        self._average = WeightAverage(agent, iterations=config.selection.averaged_iterations)
        self.stopped = False
        """Whether a stop was asked for."""

    def request_stop(self) -> None:
        """Ask for a checkpoint and an end after the current iteration."""
        self.stopped = True

    def run(self) -> None:
        """Train until the steps are done or a stop was asked for; leave a checkpoint.

        After an error the newest checkpoint is that of the last time everything was in order.
        """
        started = checkpointed = logged = time.monotonic()
        before, logged_steps = self.progress.seconds, self.loop.steps
        self.display.begin(self.loop.steps)
        while self.loop.steps < self.config.total_steps and not self.stopped:
            steps = self.loop.steps
            report = self.loop.iterate()
            self._take(report)
            self.display.advance(self.loop.steps, has_learned=bool(report.metrics))
            now = time.monotonic()
            self.progress.seconds = before + now - started
            if self._passed(steps, self.config.log_every_steps):
                self._log((self.loop.steps - logged_steps) / (now - logged))
                logged, logged_steps = now, self.loop.steps
            if self._passed(steps, self.config.selection.every_steps):
                self.evaluate()
            if now - checkpointed > self.config.checkpoint_period_sec:
                self.checkpoint()
                checkpointed = time.monotonic()
        self.checkpoint()
        draw_learning_curve(self.folder)

    def _passed(self, steps_before: int, every: int) -> bool:
        return steps_before // every != self.loop.steps // every

    def _take(self, report: LoopReport) -> None:
        self._window.add(report.episodes)
        self._means.add(report.metrics)
        if report.metrics:
            self._average.add()
        for name, value in report.metrics.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f'{name} became {value} at step {self.loop.steps}: lower the learning rates '
                    f'or scale the rewards; the last good checkpoint is kept in {self.folder}'
                )

    def _log(self, rate: float) -> None:
        metrics = {
            'steps': self.loop.steps,
            'seconds': self.progress.seconds,
            'steps_per_second': rate,
            **self._window.means(),
            **self._means.take(),
            **self.agent.learning_rates(),
            **self.loop.collector.metrics(),
        }
        self.metrics.append(metrics)
        self.display.write_scalars('training', metrics)
        self.display.show(metrics)

    def evaluate(self) -> float:
        """Evaluate the policy, and that of averaged weights; return the larger mean return."""
        mean = self._evaluate_candidate()
        if self._average:
            with self._average.applied():
                mean = max(mean, self._evaluate_candidate(averaged=True))
        return mean

    def _evaluate_candidate(self, *, averaged: bool = False) -> float:
        """Play the selection episodes; keep the policy when it is the best so far."""
        highest = self.progress.best_return
        episodes = self._play(SELECTION_SEED)
        if highest is None or metrics_of(episodes)['episode_return'] > highest:
            wanted = len(episodes) + self.config.selection.confirmations
            while len(episodes) < wanted:
                episodes += self._play(SELECTION_SEED + len(episodes))
        metrics = {
            'steps': self.loop.steps,
            'seconds': self.progress.seconds,
            **metrics_of(episodes),
            **({'averaged': int(averaged)} if self._average else {}),
        }
        mean = metrics['episode_return']
        is_best = highest is None or mean > highest
        self.evaluations.append(metrics)
        self.display.write_scalars('evaluation', metrics)
        distance = metrics['distance_m']
        self.display.say(
            f'evaluation at {self.loop.steps:,} steps{" (averaged)" if averaged else ""}: '
            f'return {mean:.1f}, '
            + (f'distance {distance:.1f} m, ' if math.isfinite(distance) else '')
            + f'{metrics["early_ends"]} of {len(episodes)} ended early'
            + (' (best)' if is_best else '')
        )
        if is_best:
            self.progress.best_return = mean
            with folder_written_atomically(self.folder / 'best', known_by='policy.keras') as best:
                self.agent.policy_model().save(best / 'policy.keras')
                (best / 'figures.json').write_text(json.dumps(metrics))
        return mean

    def _play(self, first_seed: int) -> list[FinishedEpisode]:
        return play(
            self.evaluation_environments,
            lambda observation: self.agent.act(observation, explore=False).action,
            first_seed=first_seed,
        )

    def checkpoint(self) -> None:
        """Write a checkpoint of everything; raise TrainingError when it is not worth keeping."""
        arrays = {f'agent/{n}': v for n, v in self.agent.arrays().items()}
        broken = [name for name, values in arrays.items() if not np.all(np.isfinite(values))]
        if broken:
            raise TrainingError(
                f'{broken[0]} is not finite at step {self.loop.steps}: the last good checkpoint '
                f'in {self.folder} is kept; lower the learning rates, then resume from it'
            )
        arrays |= {f'average/{n}': v for n, v in self._average.arrays().items()}
        arrays |= {f'environments/{n}': v for n, v in self.loop.collector.arrays().items()}
        state = {
            'loop': self.loop.state(),
            'progress': asdict(self.progress),
            'episodes': self._window.state(),
            'means': self._means.state(),
        }
        content = checkpoint.Checkpoint(self.loop.steps, state, arrays)
        checkpoint.write(self.folder / 'checkpoints', content)
        self.loop.after_checkpoint()

    def resume(self) -> None:
        """Go on from the newest checkpoint that is whole, or start where none was written yet."""
        if not checkpoint.paths(self.folder / 'checkpoints'):
            self.display.say('no checkpoint was written yet: starts from the beginning')
        else:
            self._load()
        for log in (self.metrics, self.evaluations):
            log.cut_after(self.loop.steps)

    def _load(self) -> None:
        content, faults = checkpoint.read_newest(self.folder / 'checkpoints')
        for fault in faults:
            self.display.say(f'passed over a checkpoint: {fault}')
        self.agent.load_arrays(below(content.arrays, 'agent/'))
        self._average.load_arrays(below(content.arrays, 'average/'))
        said = [self.loop.load_state(content.state['loop'])]
        said.append(
            self.loop.collector.load_arrays(
                below(content.arrays, 'environments/'), first_seed=self.loop.steps % 100_000
            )
        )
        self.progress = Progress(**content.state['progress'])
        self._window.load_state(content.state['episodes'])
        self._means.load_state(content.state['means'])
        self.display.say(
            f'resumed at {self.loop.steps:,} of {self.config.total_steps:,} steps with '
            + '; '.join(filter(None, said))
        )
        before = self.agent.learning_rates()
        self.agent.set_progress(self.loop.steps / self.config.total_steps)
        for name, rate in self.agent.learning_rates().items():
            if not math.isclose(rate, before[name], rel_tol=0.05):
                self.display.say(
                    f'{name} goes from {before[name]:.3g} to {rate:.3g} '
                    f'({rate / before[name]:.2g} times): it falls over total_steps, which is '
                    f'{self.config.total_steps:,} now'
                )

    def close(self) -> None:
        """End the simulation and close the files, each even if another one cannot be closed."""
        with contextlib.ExitStack() as parts:
            for part in (self.display, self.evaluation_environments, self.loop.collector):
                parts.callback(part.close)
            parts.callback(self.loop.close)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Close every part; what ended the run is more than what closing it may add."""
        if error is None:
            self.close()
        else:
            with contextlib.suppress(Exception):
                self.close()
