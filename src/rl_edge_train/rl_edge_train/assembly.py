"""Build the parts of a run from its configuration."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from rl_edge_core.configuration import from_mapping, to_mapping
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import folder_written_atomically
from rl_edge_core.tensorflow_setup import set_up_tensorflow
from rl_edge_core.wording import counted
from rl_edge_train import checkpoint
from rl_edge_train.algorithms.base import Agent
from rl_edge_train.algorithms.registry import make_agent
from rl_edge_train.cluster.ray_collector import Cluster, RayCollector, fragment_steps
from rl_edge_train.cluster.worker import WorkerTask
from rl_edge_train.collector import Collector, LocalCollector
from rl_edge_train.display import RunDisplay
from rl_edge_train.environments import spec_of
from rl_edge_train.loops import (
    ON_POLICY,
    Loop,
    OffPolicyConfig,
    OffPolicyLoop,
    OnPolicyConfig,
    OnPolicyLoop,
)
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

    on_policy = from_mapping(OnPolicyConfig, config.loop) if _learns_on_policy(config) else None
    off_policy = None if on_policy else from_mapping(OffPolicyConfig, config.loop)
    count = (on_policy or off_policy).environments  # type: ignore[union-attr]
    collector: Collector
    if cluster is not None:
        collector = _ray_collector(
            cluster,
            agent,
            spec,
            config,
            environments=count,
            rollout_length=on_policy.rollout_length if on_policy else 0,
            capacity=off_policy.replay_capacity if off_policy else 0,
            seed=seed,
            first_step=max(
                map(checkpoint.steps_of, checkpoint.paths(folder / 'checkpoints')), default=0
            ),
            say=display.say,
        )
    else:
        training = environments(count, training=True)
        training.reset([SEEDS_PER_RUN * seed + index for index in range(count)])
        collector = LocalCollector(
            agent,
            training,
            steps=on_policy.rollout_length if on_policy else 1,
            observes=on_policy is None,
            action_limits=(spec.low, spec.high),
            seed=seed,
        )
    loop: Loop
    if off_policy is None:
        loop = OnPolicyLoop(agent, collector, total_steps=config.total_steps)
    else:
        loop = OffPolicyLoop(
            agent,
            collector,
            off_policy,
            total_steps=config.total_steps,
            seed=seed,
            folder=folder,
        )
    return Runner(
        config,
        folder,
        agent=agent,
        loop=loop,
        evaluation_environments=environments(config.selection.episodes, training=False),
        keep_best=lambda path, metrics: _keep_best(agent, path, metrics),
        display=display,
    )


def _learns_on_policy(config: RunConfig) -> bool:
    return config.algorithm in ON_POLICY


def _ray_collector(
    cluster: Cluster,
    agent: Agent,
    spec: EnvironmentSpec,
    config: RunConfig,
    *,
    environments: int,
    rollout_length: int,
    capacity: int,
    seed: int,
    first_step: int,
    say: Callable[[str], None],
) -> RayCollector:
    slots = int(cluster.ray.cluster_resources().get('CPU', 1))
    workers = cluster.workers or max(1, slots - 1)
    each = cluster.environments_per_worker or -(-environments // workers)
    steps = rollout_length or fragment_steps(
        each,
        total_steps=config.total_steps,
        capacity=capacity,
        sequence_length=agent.sequence_length,
    )
    say(
        f'{counted(workers, "worker")} with {counted(each, "environment")} each collect '
        + ('rollouts' if rollout_length else 'fragments')
        + f' of {steps} steps'
        + (f': {workers * each * steps:,} transitions a rollout' if rollout_length else '')
    )
    task = WorkerTask(
        environment=to_mapping(config.environment),
        layout=agent.layout,
        action_limits=(spec.low, spec.high),
        environments=each,
        steps=steps,
        seed=seed,
        first_step=first_step,
        index=0,
        generation=0,
    )
    return RayCollector(
        cluster.ray,
        agent,
        task,
        algorithm=config.algorithm,
        workers=workers,
        rollouts=bool(rollout_length),
        say=say,
    )


def _keep_best(agent: Agent, path: Path, metrics: dict[str, Any]) -> None:
    with folder_written_atomically(path) as temporary:
        agent.policy_model().save(temporary / 'policy.keras')
        (temporary / 'figures.json').write_text(json.dumps(metrics))


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
