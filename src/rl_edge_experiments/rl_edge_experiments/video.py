"""Images as an animated GIF, with one palette for all of them.

Written by Pillow, not by imageio: that gives each image a palette of its own, and 40 frames of
Ant-v5 at 320 x 240 become 837 kB instead of 536 kB.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import write_atomically

COLORS = 64
SHORTEST_MS = 20
"""Viewers show shorter ones much longer."""
_SAMPLES = 12
_TEXT_COLOR, _SHADOW_COLOR = (255, 255, 255), (20, 30, 45)
_MARGIN = 6


def write_gif(path: Path, images: Sequence[np.ndarray], durations_ms: Sequence[float]) -> None:
    """Write ``images``, uint8 of shape (height, width, 3), each shown for its time.

    Times of a GIF are whole hundredths of a second; what rounding takes from one image the next
    one gets, so that the whole is as long as it should be. Raise ConfigurationError without an
    image or with a time for other than each, StorageError when it can't be written.
    """
    if not len(images) or len(images) != len(durations_ms):
        raise ConfigurationError(
            f'{len(images)} images and {len(durations_ms)} durations make no video'
        )
    palette = _palette_of(images)
    frames = [
        Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE)
        for image in images
    ]
    durations = whole_hundredths(durations_ms)

    def save(target: Path) -> None:
        frames[0].save(target, save_all=True, append_images=frames[1:], duration=durations, loop=0)

    write_atomically(path, save)


def whole_hundredths(durations_ms: Sequence[float]) -> list[int]:
    """Return durations in ms that are multiples of 10 and at least `SHORTEST_MS`.

    Their sum follows that of ``durations_ms`` as closely as that allows.
    """
    rounded: list[int] = []
    owed = 0.0
    for duration in durations_ms:
        owed += duration
        rounded.append(max(SHORTEST_MS, 10 * round(owed / 10.0)))
        owed -= rounded[-1]
    return rounded


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


def _palette_of(images: Sequence[np.ndarray]) -> Image.Image:
    """Return an image whose palette serves all images, so that colours do not flicker."""
    chosen = np.linspace(0, len(images) - 1, min(_SAMPLES, len(images))).astype(int)
    montage = np.concatenate([images[index] for index in chosen])
    return Image.fromarray(montage).quantize(COLORS, method=Image.Quantize.MEDIANCUT)
