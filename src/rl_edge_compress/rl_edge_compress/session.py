"""What recipes work with: the full actor, its environment, and the states that it visits."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rl_edge_compress.formats import compact, float32_tflite
from rl_edge_compress.imitation import ImitationConfig, ImitationData, Say, VisitedStates, visit
from rl_edge_compress.keras_models import actor_of, critic_of, load_keras
from rl_edge_compress.numpy_graph import NumpyGraph, numpy_graph
from rl_edge_core.artifact import FULL_RECIPE, Manifest, checked_file, load_manifest
from rl_edge_core.configuration import to_mapping
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import write_atomically

FIRST_CALIBRATION_SEED = 10_000
CALIBRATION_STEPS = 8000
CALIBRATION_EPISODES = 40
CALIBRATION_SAMPLES = 1000
"""Observations that 8-bit ranges are taken from; more find rarer extremes and coarser steps."""


@dataclass(frozen=True)
class CompressionSession:
    """One policy under compression. Trained actors are kept, so that a second run goes on."""

    model: Path
    """The artifact folder that holds the full model."""
    kept: Path
    """Folder of what was trained or simulated; may be deleted when all is done."""
    config: ImitationConfig
    say: Say
    observations: np.ndarray | None = None
    """Visited observations (count, n) to calibrate on, e.g. of a bag; None simulates some."""
    cluster: str = ''
    """That episodes are spread over; empty for this process."""

    @cached_property
    def manifest(self) -> Manifest:
        """Return the manifest of the full model."""
        return load_manifest(self.model)

    @cached_property
    def source_sha256(self) -> str:
        """Return the hash of the full model's file."""
        return self.manifest.entry(FULL_RECIPE).sha256

    @cached_property
    def full(self) -> keras.Model:
        """Return the full actor-critic; its file is what the manifest says."""
        return load_keras(checked_file(self.model, self.manifest.entry(FULL_RECIPE)))

    @cached_property
    def actor(self) -> keras.Model:
        """Return the full actor."""
        return actor_of(self.full)

    @cached_property
    def teacher(self) -> NumpyGraph:
        """Return the full actor as a NumPy function of observations."""
        return numpy_graph(float32_tflite(compact(self.actor)))

    @cached_property
    def states(self) -> VisitedStates:
        """Return states that the full actor visits."""
        path = self.kept / 'states.npz'
        if not _is_of(path, self._states_key):
            self.say('collecting states that the full actor visits')
            seeds = range(FIRST_CALIBRATION_SEED, FIRST_CALIBRATION_SEED + CALIBRATION_EPISODES)
            states, _ = visit(
                self.manifest.environment,
                self.teacher,
                self.teacher,
                seeds=seeds,
                least_steps=CALIBRATION_STEPS,
                cluster=self.cluster,
            )
            write_atomically(path, lambda to: np.savez_compressed(to, **vars(states)))
            _sign(path, self._states_key)
        with np.load(path, allow_pickle=False) as stored:
            return VisitedStates(**stored)

    @cached_property
    def calibration(self) -> np.ndarray:
        """Return observations (count, n) for 8-bit ranges and for the golden pair."""
        seen = self.observations if self.observations is not None else self.states.observations
        if len(seen) <= CALIBRATION_SAMPLES:
            return seen
        chosen = np.random.default_rng(0).choice(len(seen), CALIBRATION_SAMPLES, replace=False)
        return seen[np.sort(chosen)]

    @property
    def imitation_data(self) -> ImitationData:
        """Return what pruning and distillation teach by."""
        return ImitationData(
            teacher=self.teacher,
            critic=critic_of(self.full),
            environment=self.manifest.environment,
            states=self.states,
            config=self.config,
            say=self.say,
            cluster=self.cluster,
        )

    @property
    def _states_key(self) -> str:
        return _key({'source': self.source_sha256, 'steps': CALIBRATION_STEPS})

    def trained(
        self, name: str, train: Callable[['CompressionSession'], keras.Model]
    ) -> keras.Model:
        """Return the actor ``name``: the kept one if its settings are the same, else a new one."""
        path, key = self._place(name), self._actor_key(name)
        if _is_of(path, key):
            try:
                return load_keras(path)
            except ArtifactError:
                self.say(f'{path} is damaged: training it again')
        actor = train(self)
        write_atomically(path, lambda to: actor.save(to))
        _sign(path, key)
        return actor

    def is_outdated(self, name: str) -> bool:
        """Return whether the kept actor ``name`` was trained with other settings."""
        path = self._place(name)
        return path.is_file() and not _is_of(path, self._actor_key(name))

    def _place(self, name: str) -> Path:
        return self.kept / f'{name}.keras'

    def _actor_key(self, name: str) -> str:
        return _key({'source': self.source_sha256, 'actor': name, **to_mapping(self.config)})


def _key(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _sign(path: Path, key: str) -> None:
    write_atomically(path.with_suffix('.key'), key)


def _is_of(path: Path, key: str) -> bool:
    """Return whether a kept file was made with the settings of ``key``."""
    signature = path.with_suffix('.key')
    return path.is_file() and signature.is_file() and signature.read_text() == key
