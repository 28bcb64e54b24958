"""The images in a bag: sensor_msgs/Image, as the simulator publishes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import DecodingError, decoder_of
from rl_edge_eval.bag.messages import BagError

IMAGE_TYPE = 'sensor_msgs/msg/Image'
_ENCODING, _CHANNELS = 'rgb8', 3


class Frame(NamedTuple):
    """One recorded image."""

    time_ns: int
    """When it arrived."""
    pixels: np.ndarray
    """uint8, shape (height, width, 3), RGB."""


def frames_of(path: Path) -> Iterator[Frame]:
    """Yield the images of a bag in the order in which they were recorded.

    Raise BagError when there is no bag at ``path``, when its images can't be decoded, and for
    other images than RGB with 8 bits.
    """
    decoders = {}
    for topic, time_ns, data in Bag(path):
        if topic.message_type != IMAGE_TYPE:
            continue
        try:
            if topic not in decoders:
                decoders[topic] = decoder_of(topic)
            yield Frame(time_ns, _pixels(decoders[topic](data)))
        except DecodingError as error:
            raise BagError(f'{path}: {error}') from error


def _pixels(message: object) -> np.ndarray:
    encoding = getattr(message, 'encoding', '')
    if encoding != _ENCODING:
        raise DecodingError(f'its images are {encoding!r}, must be {_ENCODING}')
    height, width = message.height, message.width  # type: ignore[attr-defined]
    pixels = np.frombuffer(bytes(message.data), np.uint8)  # type: ignore[attr-defined]
    if pixels.size != height * width * _CHANNELS:
        raise DecodingError(
            f'an image of {width} x {height} has {pixels.size} bytes instead of '
            f'{height * width * _CHANNELS}'
        )
    return pixels.reshape(height, width, _CHANNELS)
