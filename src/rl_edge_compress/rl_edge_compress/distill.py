"""Actors that learn from the full one: narrower students, and a copy for weights of few bits."""

import dataclasses

import keras
import numpy as np

from rl_edge_compress.imitation import ImitationData, imitate
from rl_edge_compress.layer_chain import LayerChain, front_values, layer_chain, moments

CLIP = 10.0
WEIGHT_BITS = 8
TUNING_RATE = 0.3
"""Of the rate at which a student learns: what was trained is only to be adapted."""


def distilled(actor: keras.Model, width: int, data: ImitationData) -> keras.Model:
    """Return a student ``width`` neurons wide that was taught by ``actor``, for 8-bit weights."""
    keras.utils.set_random_seed(data.config.seed)
    student = narrower(layer_chain(actor), width, data.states.observations)
    imitate(student, data, weight_bits=WEIGHT_BITS)
    return student


def tuned(actor: keras.Model, bits: int, data: ImitationData) -> keras.Model:
    """Return a copy of ``actor`` that learned to answer as it does with weights of ``bits``."""
    student = layer_chain(actor).model()
    rate = TUNING_RATE * data.config.learning_rate
    config = dataclasses.replace(data.config, learning_rate=rate)
    imitate(student, dataclasses.replace(data, config=config), weight_bits=bits)
    return student


def narrower(chain: LayerChain, width: int, observations: np.ndarray) -> keras.Model:
    """Return an untrained actor with as many hidden layers as ``chain``, each ``width`` wide.

    It sees what the chain's first dense layer sees, normalised by ``observations`` where the
    chain does not normalise, and has no LayerNorm: on a chip, that costs more than it adds to a
    network this small.
    """
    source = keras.Input((chain.observation_size,), name='observation')
    value = source
    for step in chain.front:
        value = step(value)
    if not any(isinstance(step, keras.layers.Normalization) for step in chain.front):
        value = _normalized(value, front_values(chain, observations), chain)
    for number, _ in enumerate(chain.dense[:-1]):
        value = keras.layers.Dense(width, activation='relu', name=f'student_{number}')(value)
    head = chain.dense[-1]
    value = keras.layers.Dense(head.units, activation=head.activation, name='student_head')(value)
    for step in chain.tail:
        value = step(value)
    return keras.Model(source, value, name='actor')


def _normalized(
    value: keras.KerasTensor, seen: np.ndarray, chain: LayerChain
) -> keras.KerasTensor:
    mean, variance = moments(seen)
    normal = keras.layers.Normalization(mean=mean, variance=variance)(value)
    taken = chain.operation_names
    while True:
        # Keras names an operation by its number in this process; one from a file may be called so.
        limited = keras.ops.clip(normal, -CLIP, CLIP)
        if limited._keras_history.operation.name not in taken:
            return limited
