"""Build the parts of a run from its configuration, and start it from a shipped policy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rl_edge_compress.keras_models import load_keras
from rl_edge_core.artifact import FULL_RECIPE, checked_file, load_manifest
from rl_edge_core.configuration import from_mapping
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_core.tensorflow_setup import set_up_tensorflow
from rl_edge_core.wording import counted
from rl_edge_train import checkpoint, loops
from rl_edge_train.algorithms.base import Agent
from rl_edge_train.algorithms.registry import make_agent
from rl_edge_train.cluster.ray_collector import Cluster, RayCollector, fragment_steps
from rl_edge_train.cluster.worker import WorkerTask
from rl_edge_train.collector import Collector, RolloutCollector, StepCollector
from rl_edge_train.display import RunDisplay
from rl_edge_train.environments import spec_of
from rl_edge_train.export_command import observations_of
from rl_edge_train.run_config import RunConfig
from rl_edge_train.runner import Runner
from rl_edge_train.starting import StartingWeights
from rl_edge_train.vector_environment import VectorEnvironment

SEEDS_PER_RUN = 1000
"""Training environments of run seed S start with seeds 1000 S and up, below selection's."""


def assemble(
    config: RunConfig,
    folder: Path,
    *,
    seed: int,
    simulation_cpus: Sequence[int] = (),
    cluster: Cluster | None = None,
) -> Runner:
    """Build agent, collector, loop and runner; with a `cluster`, its workers collect.

    Raise ConfigurationError for threads that TensorFlow can't have any more in this process.
    """
    set_up_tensorflow()
    _use_threads(config.learner_threads)
    spec = spec_of(config.environment)
    agent = make_agent(config.algorithm, spec, config.agent, seed=seed)
    display = RunDisplay(folder, total_steps=config.total_steps)

    def environments(count: int, *, training: bool) -> VectorEnvironment:
        return VectorEnvironment(
            config.environment,
            spec,
            count=count,
            processes=min(config.simulation_processes, count),
            cpus=simulation_cpus,
            training=training,
        )

    schedule: loops.OnPolicyConfig | loops.OffPolicyConfig
    if config.algorithm in loops.ON_POLICY:
        schedule = from_mapping(loops.OnPolicyConfig, config.loop)
    else:
        schedule = from_mapping(loops.OffPolicyConfig, config.loop)
    collector: Collector
    if cluster is not None:
        taken = map(checkpoint.steps_of, checkpoint.paths(folder / 'checkpoints'))
        collector = _ray_collector(
            cluster,
            agent,
            config,
            schedule,
            seed=seed,
            first_step=max(taken, default=0),
            say=display.say,
        )
    else:
        count = schedule.environments
        training = environments(count, training=True)
        training.reset([SEEDS_PER_RUN * seed + index for index in range(count)])
        if isinstance(schedule, loops.OnPolicyConfig):
            collector = RolloutCollector(agent, training, steps=schedule.rollout_length)
        else:
            limits = (spec.low, spec.high)
            collector = StepCollector(agent, training, action_limits=limits, seed=seed)
    loop: loops.Loop
    if isinstance(schedule, loops.OnPolicyConfig):
        loop = loops.OnPolicyLoop(agent, collector, total_steps=config.total_steps)
    else:
        loop = loops.OffPolicyLoop(
            agent, collector, schedule, total_steps=config.total_steps, seed=seed, folder=folder
        )
    return Runner(
        config,
        folder,
        agent=agent,
        loop=loop,
        evaluation_environments=environments(config.selection.episodes, training=False),
        display=display,
    )


def _ray_collector(
    cluster: Cluster,
    agent: Agent,
    config: RunConfig,
    schedule: loops.OnPolicyConfig | loops.OffPolicyConfig,
    *,
    seed: int,
    first_step: int,
    say: Callable[[str], None],
) -> RayCollector:
    slots = int(cluster.ray.cluster_resources().get('CPU', 1))
    workers = cluster.workers or max(1, slots - 1)
    each = cluster.environments_per_worker or -(-schedule.environments // workers)
    begin = f'{counted(workers, "worker")} with {counted(each, "environment")} each collect'
    if isinstance(schedule, loops.OnPolicyConfig):
        steps = schedule.rollout_length
        say(f'{begin} rollouts of {steps} steps: {workers * each * steps:,} transitions a rollout')
    else:
        steps = fragment_steps(
            each,
            total_steps=config.total_steps,
            capacity=schedule.replay_capacity,
            sequence_length=agent.sequence_length,
        )
        say(f'{begin} fragments of {steps} steps')
    return RayCollector(
        cluster.ray,
        agent,
        WorkerTask.of(
            agent,
            config.environment,
            environments=each,
            steps=steps,
            seed=seed,
            first_step=first_step,
        ),
        workers=workers,
        rollouts=isinstance(schedule, loops.OnPolicyConfig),
        say=say,
    )


def _use_threads(count: int) -> None:
    """Let a gradient step use `count` threads; one is what every process starts with."""
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


def start_from(runner: Runner, config: RunConfig, artifact: Path) -> dict[str, Any]:
    """Start from the policy in the folder `artifact`; return what the run's record says of it.

    Raise ArtifactError when it is no artifact, ConfigurationError when it is a policy for other
    observations and actions or its actor does not fit the algorithm's.
    """
    manifest = load_manifest(artifact)
    differences = manifest.environment.differences(spec_of(config.environment))
    if differences:
        raise ConfigurationError(f'{artifact} was made for another environment: {differences}')
    entry = manifest.entry(FULL_RECIPE)
    model = load_keras(checked_file(artifact, entry))
    observations: np.ndarray | None = None
    try:
        weights = StartingWeights.of(model)
        if not weights.normalized:
            observations = observations_of(model, config)
        taken = runner.agent.start_from(weights, observations)
    except (ConfigurationError, ArtifactError) as error:
        raise ConfigurationError(f'no training can start from {artifact}: {error}') from error
    fresh = [part for part, is_taken in taken.items() if not is_taken]
    runner.display.say(
        f'started from {manifest.name}: '
        + ', '.join(part for part, is_taken in taken.items() if is_taken)
        + (f'; new: {", ".join(fresh)}' if fresh else '')
    )
    return {'name': manifest.name, 'sha256': entry.sha256, 'taken': dict(taken)}
