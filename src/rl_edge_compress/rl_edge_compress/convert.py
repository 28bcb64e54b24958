"""Convert a Keras actor to TensorFlow Lite in floating point; `quantize` goes on from there."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from rl_edge_compress.layer_chain import layer_chain
from rl_edge_compress.tflite_file import tidy
from rl_edge_core.errors import ArtifactError
from rl_edge_core.tensorflow_setup import without_noise

SIGNATURE = 'serving_default'


def float32_tflite(actor: keras.Model) -> bytes:
    """Return ``actor``, observation (1, n) -> action (1, m), as a float32 `.tflite` file."""
    return tidy(_converted(actor))


def float16_tflite(actor: keras.Model) -> bytes:
    """Return the actor with its weights stored in float16; runtimes compute in float32."""
    return tidy(_converted(actor, weights=tf.float16))


def _converted(actor: keras.Model, *, weights: tf.DType | None = None) -> bytes:
    with tempfile.TemporaryDirectory(prefix='rl_edge-') as folder:
        _save_graph(actor, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if weights is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [weights]
        with without_noise():
            return bytes(converter.convert())


def compact(actor: keras.Model) -> keras.Model:
    """Return the actor without head units that its action does not use.

    An actor that branches is returned as it is: it can be converted, though not pruned.
    """
    try:
        return layer_chain(actor).model()
    except ArtifactError:
        return actor


def _save_graph(actor: keras.Model, folder: Path) -> None:
    # Keras' own archive turns its variables into constants; a plain tf.function of a Keras 3
    # model leaves them as resources, which the edge runtimes don't have.
    archive = keras.export.ExportArchive()
    archive.track(actor)
    archive.add_endpoint(
        SIGNATURE,
        lambda observation: {'action': actor(observation, training=False)},
        input_signature=[
            tf.TensorSpec((1, actor.inputs[0].shape[-1]), tf.float32, name='observation')
        ],
    )
    archive.write_out(str(folder), verbose=False)
