"""A short video of one policy that walks, as a GIF."""

from pathlib import Path

import numpy as np

from rl_edge_bringup.models import ModelRequest, choose_model, results_folder
from rl_edge_bringup.systems import policy_arguments, sim_arguments
from rl_edge_core.environment_spec import environment_arguments
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ensure_folder, user_path
from rl_edge_core.parameters import Setting, Values
from rl_edge_experiments.experiment import Experiment
from rl_edge_experiments.video import captioned, write_gif
from rl_edge_policy.load import load_policy
from rl_edge_sim.video import Video, draw_frames, record_video

_FROM_POLICY = ('configuration', 'model', 'recipe', 'runtime')
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')
_SUFFIX = '.gif'


def run_clip(values: Values) -> int:
    """Run one episode, draw a part of it, and write the GIF; return 0."""
    path = user_path(str(values['output'] or results_folder() / 'clip.gif'))
    if path.suffix.lower() != _SUFFIX:
        raise ConfigurationError(f'output is {str(path)!r}, must be a file that ends in {_SUFFIX}')
    ensure_folder(path.parent)
    names = (*_FROM_POLICY, 'environment_id', 'environment_arguments')
    model = choose_model(ModelRequest(**{name: str(values[name]) for name in names}))
    policy = load_policy(model.folder, recipe=model.recipe, runtime=model.runtime)
    video = record_video(
        str(values['environment_id']),
        policy.act,
        seed=int(values['seed']),
        environment_arguments=environment_arguments(str(values['environment_arguments'])),
    ).part(begin_sec=float(values['begin_sec']), seconds=float(values['seconds']))
    write_video(
        path,
        video,
        title=model.model_id,
        width=int(values['width']),
        height=int(values['height']),
        every=int(values['every']),
    )
    print(f'{model.model_id}, seed {values["seed"]}: {len(video.states)} steps of the episode')
    print(f'written: {path} ({path.stat().st_size / 1e6:.2f} MB)')
    return 0


def write_video(
    path: Path, video: Video, *, title: str, width: int, height: int, every: int = 1
) -> None:
    """Draw each ``every``-th state of ``video`` and write the GIF, at the pace of the episode."""
    shown = Video(
        video.environment_id,
        video.environment_arguments,
        video.control_period_sec * every,
        video.states[::every],
        video.forward_positions_m[::every],
    )
    frames = [
        captioned(image, title, distance_text(shown, index))
        for index, image in enumerate(draw_frames(shown, width=width, height=height))
    ]
    write_gif(path, frames, [1e3 * shown.control_period_sec] * len(frames))


def distance_text(video: Video, index: int) -> str:
    """Return time and distance since the beginning of ``video``, as far as there is one."""
    time_sec = index * video.control_period_sec
    distance_m = video.forward_positions_m[index] - video.forward_positions_m[0]
    return f'{time_sec:.1f} s' + (f', {distance_m:.1f} m' if np.isfinite(distance_m) else '')


EXPERIMENT = Experiment(
    arguments=(
        *(argument for argument in policy_arguments() if argument.name in _FROM_POLICY),
        *(argument for argument in sim_arguments() if argument.name in _FROM_SIM),
        Setting('begin_sec', 0.0, 'where the video begins, in s of the episode', minimum=0.0),
        Setting('seconds', 6.0, 'how long it is, in s of the episode', minimum=0.05),
        Setting('width', 360, 'of the images, in pixels', minimum=16),
        Setting('height', 270, 'of the images, in pixels', minimum=16),
        Setting('every', 1, 'draw each so many-th step', minimum=1),
        Setting('output', '', 'file to write; empty for results/clip.gif'),
    ),
    run=run_clip,
)
