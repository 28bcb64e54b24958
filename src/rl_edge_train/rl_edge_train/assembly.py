"""Build the parts of a run from its configuration, with TensorFlow on few threads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
# One thread unless a run asks for more: the learner has a core to itself, the simulation uses the
# others. By variables, since TensorFlow reads them when it starts.
os.environ.setdefault('TF_NUM_INTRAOP_THREADS', '1')
os.environ.setdefault('TF_NUM_INTEROP_THREADS', '1')
os.environ['XLA_FLAGS'] = (
    os.environ.get('XLA_FLAGS', '') + ' --xla_cpu_multi_thread_eigen=false'
).strip()

import tensorflow as tf

from rl_edge_core.configuration import from_mapping
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import folder_written_atomically
from rl_edge_train.algorithms.registry import ON_POLICY, make_agent
from rl_edge_train.display import RunDisplay
from rl_edge_train.environments import spec_of
from rl_edge_train.loop import Loop
from rl_edge_train.off_policy_loop import OffPolicyConfig, OffPolicyLoop
from rl_edge_train.on_policy_loop import OnPolicyConfig, OnPolicyLoop
from rl_edge_train.run_config import RunConfig
from rl_edge_train.runner import Runner
from rl_edge_train.vector_environment import VectorEnvironment

SEEDS_PER_RUN = 1000
"""Training environments of run seed S start with seeds 1000 S and up, below selection's."""


def assemble(
    config: RunConfig,
    folder: Path,
    *,
    seed: int,
    simulation_cpus: Sequence[int] = (),
) -> Runner:
    """Build agent, environments, loop and runner.

    Raise ConfigurationError for threads that TensorFlow can't have any more in this process.
    """
    _use_threads(config.learner_threads)
    spec = spec_of(config.environment)
    agent = make_agent(config.algorithm, spec, config.agent, seed=seed)

    def environments(count: int, *, training: bool) -> VectorEnvironment:
        return VectorEnvironment(
            config.environment,
            spec,
            count=count,
            processes=min(config.simulation_processes, count),
            cpus=simulation_cpus,
            training=training,
        )

    loop: Loop
    if config.algorithm in ON_POLICY:
        on_policy = from_mapping(OnPolicyConfig, config.loop)
        training = environments(on_policy.environments, training=True)
        loop = OnPolicyLoop(agent, training, on_policy, total_steps=config.total_steps)
    else:
        off_policy = from_mapping(OffPolicyConfig, config.loop)
        training = environments(off_policy.environments, training=True)
        loop = OffPolicyLoop(
            agent,
            training,
            off_policy,
            action_limits=(spec.low, spec.high),
            total_steps=config.total_steps,
            seed=seed,
            folder=folder,
        )
    training.reset([SEEDS_PER_RUN * seed + index for index in range(training.count)])

    def keep_best(path: Path, figures: dict[str, Any]) -> None:
        with folder_written_atomically(path) as temporary:
            agent.policy_model().save(temporary / 'policy.keras')
            (temporary / 'figures.json').write_text(json.dumps(figures))

    return Runner(
        config,
        folder,
        agent=agent,
        loop=loop,
        environments=training,
        evaluation_environments=environments(config.selection.episodes, training=False),
        keep_best=keep_best,
        display=RunDisplay(folder, total_steps=config.total_steps),
    )


def _use_threads(count: int) -> None:
    """Let a gradient step use ``count`` threads; one is what every process starts with."""
    if count < 1:
        raise ConfigurationError(f'learner_threads is {count}, must be at least 1')
    if count in (1, tf.config.threading.get_intra_op_parallelism_threads()):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError as error:
        raise ConfigurationError(
            f'learner_threads is {count}, but TensorFlow has started in this process: begin the '
            f'run in a process of its own'
        ) from error
