"""A short video of one policy that walks, as a GIF.

The GIF has one palette for all images. It is written by Pillow, not by imageio: that gives each
image a palette of its own, and 40 frames of Ant-v5 at 320 x 240 become 837 kB instead of 536 kB.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rl_edge_bringup.models import ModelRequest, choose_model, results_folder
from rl_edge_core.environment_spec import environment_arguments
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import check_file, user_path, write_atomically
from rl_edge_core.parameters import Setting, Values
from rl_edge_core.wording import counted
from rl_edge_experiments.experiment import Experiment, system_arguments, with_environment_of
from rl_edge_policy.load import load_policy
from rl_edge_sim.video import Video, draw_frames, record_video

COLORS = 64
SHORTEST_MS = 20
"""Viewers show shorter ones much longer."""
_SAMPLES = 12
_TEXT_COLOR, _SHADOW_COLOR = (255, 255, 255), (20, 30, 45)
_MARGIN = 6
_FROM_POLICY = ('configuration', 'model', 'recipe', 'runtime')
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')


def run_clip(values: Values) -> None:
    """Run one episode, draw a part of it, and write the GIF."""
    path = user_path(str(values['output'] or results_folder() / 'clip.gif'))
    if path.suffix.lower() != '.gif':
        raise ConfigurationError(f'output is {str(path)!r}, must be a file that ends in .gif')
    check_file(path)
    names = (*_FROM_POLICY, 'environment_id', 'environment_arguments')
    model = choose_model(ModelRequest(**{name: str(values[name]) for name in names}))
    values = with_environment_of(model, values)
    policy = load_policy(model.folder, recipe=model.recipe, runtime=model.runtime)
    video = record_video(
        str(values['environment_id']),
        policy.act,
        seed=int(values['seed']),
        environment_arguments=environment_arguments(str(values['environment_arguments'])),
    ).part(begin_sec=float(values['begin_sec']), seconds=float(values['seconds']))
    every = int(values['every'])
    shown = Video(
        video.environment_id,
        video.environment_arguments,
        video.control_period_sec * every,
        video.states[::every],
        video.forward_positions_m[::every],
    )
    images = draw_frames(shown, width=int(values['width']), height=int(values['height']))
    frames = [
        captioned(image, model.model_id, distance_text(shown, index))
        for index, image in enumerate(images)
    ]
    write_gif(path, frames, period_ms=1e3 * shown.control_period_sec)
    steps = counted(len(video.states), 'step')
    print(f'{model.model_id}, seed {values["seed"]}: {steps} of the episode')
    print(f'wrote {path} ({path.stat().st_size / 1e6:.2f} MB)')


def distance_text(video: Video, index: int) -> str:
    """Return time and distance since the beginning of ``video``, as far as there is one."""
    time_sec = index * video.control_period_sec
    distance_m = video.forward_positions_m[index] - video.forward_positions_m[0]
    return f'{time_sec:.1f} s' + (f', {distance_m:.1f} m' if np.isfinite(distance_m) else '')


def write_gif(path: Path, images: Sequence[np.ndarray], *, period_ms: float) -> None:
    """Write ``images``, uint8 of shape (height, width, 3), each shown for ``period_ms``.

    Raise ConfigurationError without an image, StorageError when it can't be written.
    """
    if not len(images):
        raise ConfigurationError('0 images make no video')
    # Of some images, one palette for all, so that colours do not flicker.
    chosen = np.linspace(0, len(images) - 1, min(_SAMPLES, len(images))).astype(int)
    montage = np.concatenate([images[index] for index in chosen])
    palette = Image.fromarray(montage).quantize(COLORS, method=Image.Quantize.MEDIANCUT)
    frames = [
        Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE)
        for image in images
    ]
    durations = whole_hundredths(len(frames), period_ms)

    def save(target: Path) -> None:
        frames[0].save(target, save_all=True, append_images=frames[1:], duration=durations, loop=0)

    write_atomically(path, save)


def whole_hundredths(count: int, period_ms: float) -> list[int]:
    """Return for how long each of ``count`` images is shown, in ms, at least `SHORTEST_MS`.

    Times of a GIF are whole hundredths of a second; what rounding takes from one image the next
    one gets, so that the whole is as long as it should be.
    """
    ends = 10 * np.round(period_ms * np.arange(count + 1) / 10.0).astype(int)
    return np.maximum(np.diff(ends), SHORTEST_MS).tolist()


def captioned(frame: np.ndarray, *lines: str) -> np.ndarray:
    """Return a copy of ``frame`` with lines of text in its upper left corner."""
    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(10, frame.shape[0] // 18))
    text = '\n'.join(lines)
    for offset, color in ((1, _SHADOW_COLOR), (0, _TEXT_COLOR)):
        draw.text((_MARGIN + offset, _MARGIN + offset), text, color, font)
    return np.asarray(image)


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return both images, of the same shape, in one, with a line between them."""
    line = np.full((left.shape[0], 2, 3), 255, np.uint8)
    return np.concatenate([left, line, right], axis=1)


EXPERIMENT = Experiment(
    arguments=(
        *system_arguments(*_FROM_POLICY, *_FROM_SIM),
        Setting('begin_sec', 0.0, 'where the video begins, in s of the episode', minimum=0.0),
        Setting('seconds', 6.0, 'how long it is, in s of the episode', minimum=0.05),
        Setting('width', 360, 'of the images, in pixels', minimum=16),
        Setting('height', 270, 'of the images, in pixels', minimum=16),
        Setting('every', 1, 'draw each so many-th step', minimum=1),
        Setting('output', '', 'file to write; empty for results/clip.gif'),
    ),
    run=run_clip,
)
