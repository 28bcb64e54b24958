import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from rl_edge_compress.formats import FORMATS, compact, float32_tflite
from rl_edge_compress.imitation import (
    UPDATES_PER_CALL,
    ImitationConfig,
    ImitationData,
    ImitationTrainer,
    VisitedStates,
    rounded_kernel,
    visit,
)
from rl_edge_compress.keras_models import actor_of, critic_of, front_values, layer_chain
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.runtimes import open_interpreter, run_interpreter
from rl_edge_compress.students import (
    distilled,
    kept_weights,
    magnitude_masks,
    narrower,
    normalized_inputs,
    pruned,
    scheduled_sparsity,
    tuned,
)
from rl_edge_compress.tflite_file import constant, file_facts, operators, read_model
from rl_edge_core.errors import ConfigurationError
from rl_edge_sim.environment import make_environment, spec_of

SHORT = ImitationConfig(
    rounds=2, steps_per_round=30, updates_per_round=100, final_updates=100, batch_size=16
)


@pytest.fixture(scope='module')
def pole():
    """An environment of 4 observations and 1 action in [-3, 3]; a poor policy falls at once."""
    return spec_of(make_environment('InvertedPendulum-v5'))


@pytest.fixture(scope='module')
def pole_actor(build):
    return actor_of(build(observations=4, actions=1, normalize=False, layer_norm=True))


@pytest.fixture(scope='module')
def teacher(pole_actor):
    return numpy_graph(float32_tflite(compact(pole_actor)))


@pytest.fixture(scope='module')
def states(pole, teacher):
    return visit(pole, teacher, teacher, seeds=range(20), least_steps=50)[0]


@pytest.fixture(scope='module')
def data(pole, teacher, states):
    return ImitationData(
        teacher, critic=None, environment=pole, states=states, config=SHORT, say=str
    )


def test_schedule_is_cubic():
    """Zhu & Gupta 2017, eq. 1, from 0 to 80 %, worked by hand."""
    assert scheduled_sparsity(0.0, 0.8) == 0.0
    assert scheduled_sparsity(0.5, 0.8) == pytest.approx(0.8 * (1 - 0.125))
    assert scheduled_sparsity(0.9, 0.8) == pytest.approx(0.8 * (1 - 0.001))
    assert scheduled_sparsity(1.0, 0.8) == 0.8
    assert scheduled_sparsity(1.7, 0.8) == 0.8
    with pytest.raises(ConfigurationError, match=r'sparsity 1.0 must be'):
        scheduled_sparsity(0.5, 1.0)


def test_narrow_layers_keep_a_larger_share():
    """27-256-8 at 90 % by hand: 896 weights stay, shared as 283 : 264, 1.638 each."""
    shapes = {0: (27, 256), 2: (256, 8)}
    assert kept_weights(shapes, 0.9) == {0: 463, 2: 432}
    # At 10 % all of the second one's 2,048 stay; the first has the other 6,016 of 8,064.
    assert kept_weights(shapes, 0.1) == {0: 6016, 2: 2048}
    assert kept_weights(shapes, 0.0) == {0: 27 * 256, 2: 256 * 8}


def test_masks_take_the_smallest_weights_of_each_layer():
    kernels = {0: np.array([[0.1, -3.0], [0.0, -0.2]]), 2: np.array([[2.0, 0.05]])}
    masks = magnitude_masks(kernels, 0.5)  # 3 stay, shared as 4 : 3, so 1.7 and 1.3
    assert masks[0].tolist() == [[0, 1], [0, 0]]
    assert masks[2].tolist() == [[1, 0]]
    assert all(mask.all() for mask in magnitude_masks(kernels, 0.0).values())


@pytest.mark.parametrize('sparsity', [0.5, 0.8, 0.9, 0.95])
def test_at_least_so_many_weights_are_zero(sparsity):
    kernels = {
        i: np.random.default_rng(i).normal(size=s) for i, s in enumerate([(27, 64), (64, 8)])
    }
    masks = np.concatenate(
        [mask.reshape(-1) for mask in magnitude_masks(kernels, sparsity).values()]
    )
    assert sparsity <= np.mean(masks == 0) <= sparsity + 0.002


def test_normalised_inputs_leave_the_function_as_it_was(pole_actor, states):
    chain = normalized_inputs(layer_chain(pole_actor), states.observations)
    seen = front_values(chain, states.observations)
    assert seen.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-4)
    assert np.asarray(chain.model()(states.observations)) == pytest.approx(
        states.actions, abs=1e-4
    )
    assert normalized_inputs(chain, states.observations) is chain


def test_pruned_weights_stay_zero_while_the_others_learn(pole_actor, states):
    student = layer_chain(pole_actor).model()
    trainer = ImitationTrainer(student, SHORT, action_scale=np.ones(1))
    masks = magnitude_masks(trainer.kernels, 0.9)
    before = trainer.kernels
    for place, mask in masks.items():
        trainer.set_mask(place, mask)
    other = VisitedStates(states.observations, states.actions + 0.5)
    trainer.learn(other, rate=1e-2)
    for place, kernel in trainer.kernels.items():
        assert not kernel[masks[place] == 0].any()
        assert np.any(kernel != before[place] * masks[place])


def test_sparsity_is_in_the_exported_files(pole_actor, states, data):
    lines = []
    student = pruned(pole_actor, 0.8, dataclasses.replace(data, say=lines.append))
    assert len(lines) == SHORT.rounds + 1
    for name in ('float32', 'int8'):
        facts = file_facts(FORMATS[name].write(student, states.observations))
        assert 0.8 <= facts.sparsity < 0.95
    # The full actor is as it was.
    assert np.asarray(pole_actor(states.observations)) == pytest.approx(states.actions, abs=1e-5)


def test_the_student_drives_and_the_teacher_labels(pole, teacher, build):
    other = actor_of(build(observations=4, actions=1, seed=5))
    driver = numpy_graph(float32_tflite(compact(other)))
    visited, results = visit(pole, driver, teacher, seeds=range(3), least_steps=10**6)
    assert len(visited.observations) == sum(result.length for result in results)
    assert visited.actions == pytest.approx(teacher(visited.observations))
    by_teacher, _ = visit(pole, teacher, teacher, seeds=range(3), least_steps=10**6)
    assert len(by_teacher.observations) != len(visited.observations) or not np.array_equal(
        by_teacher.observations, visited.observations
    )


def test_visits_stop_after_the_episode_that_reaches_the_steps(pole, teacher):
    _, results = visit(pole, teacher, teacher, seeds=range(100), least_steps=1)
    assert len(results) == 1


def test_learning_lowers_the_error(pole_actor, states):
    student = narrower(layer_chain(pole_actor), 8, states.observations)
    config = ImitationConfig(batch_size=32)
    trainer = ImitationTrainer(student, config, action_scale=np.ones(1))
    first = trainer.learn(states, rate=1e-2)
    for _ in range(400 // UPDATES_PER_CALL):
        last = trainer.learn(states, rate=1e-2)
    assert last < first


def test_a_critic_values_actions_in_the_units_of_the_environment(build, visited):
    model = build(values_actions=True, limit=2.0)
    outputs = model(visited)
    critic = critic_of(model)
    assert np.asarray(critic(visited, outputs['action'])) == pytest.approx(
        np.asarray(outputs['value']), abs=1e-5
    )
    assert not np.allclose(critic(visited, -outputs['action']), outputs['value'])


def test_a_value_of_states_is_no_critic_of_actions(build):
    assert critic_of(build(values_actions=False)) is None


@pytest.mark.parametrize(('value_weight', 'learned'), [(0.0, 0.0), (1e4, 1.5)])
def test_a_student_climbs_the_value_as_far_as_it_weighs(pole_actor, states, value_weight, learned):
    """The teacher says 0, its critic says 1.5 is better: whom to follow is the weight's."""

    def critic(_, action):
        return -1.0 - tf.square(action - 1.5)

    says_zero = VisitedStates(states.observations, np.zeros_like(states.actions))
    trainer = ImitationTrainer(
        layer_chain(pole_actor).model(),
        ImitationConfig(batch_size=32, value_weight=value_weight),
        action_scale=np.ones(1),
        critic=critic,
    )
    for _ in range(5):
        trainer.learn(says_zero, rate=3e-3)
    actions = np.asarray(trainer.student(states.observations))
    assert actions == pytest.approx(np.full_like(actions, learned), abs=0.3)


def test_a_student_is_narrow_normalised_and_without_layer_norm(pole_actor, states):
    student = narrower(layer_chain(pole_actor), 8, states.observations)
    kinds = [type(layer) for layer in student.layers]
    assert keras.layers.Normalization in kinds
    assert keras.layers.LayerNormalization not in kinds
    units = [layer.units for layer in student.layers if isinstance(layer, keras.layers.Dense)]
    assert units == [8, 8, 1]
    assert np.all(np.abs(np.asarray(student(states.observations))) <= 2.0)


def test_rounding_by_hand():
    """At 3 bits the largest weight of a unit is 3 steps; at 8 one scale serves the layer."""
    kernel = tf.constant([[1.5, -0.6], [0.2, -3.0]])
    assert rounded_kernel(kernel, 3).numpy().tolist() == [[1.5, -1.0], [0.0, -3.0]]
    kernel = tf.constant([[12.7, -0.26], [0.04, -1.0]])
    assert rounded_kernel(kernel, 8).numpy() == pytest.approx(
        np.array([[12.7, -0.3], [0.0, -1.0]]), abs=1e-6
    )
    assert rounded_kernel(tf.zeros((2, 2)), 8).numpy().tolist() == [[0.0, 0.0]] * 2


def test_a_student_learns_by_the_weights_that_it_ends_with(pole_actor, states):
    """What rounding costs a student that has learned by exact weights, this one makes up for."""
    target = VisitedStates(states.observations, 0.2 * states.observations[:, :1])

    def taught(weight_bits):
        keras.utils.set_random_seed(0)
        student = narrower(layer_chain(pole_actor), 8, states.observations)
        trainer = ImitationTrainer(
            student, ImitationConfig(batch_size=32), action_scale=np.ones(1)
        )
        for call in range(30):
            last = call >= 15
            trainer.learn(target, rate=3e-3, weight_bits=weight_bits if last else None)
        trainer.round_weights(3)
        error = np.asarray(student(target.observations)) - target.actions
        return student, float(np.sqrt(np.mean(error**2)))

    student, error = taught(3)
    assert error < 0.7 * taught(None)[1]
    for dense in [x for x in student.layers if isinstance(x, keras.layers.Dense)][1:]:
        kernel = dense.get_weights()[0]
        steps = 3 * kernel / np.abs(kernel).max(axis=0)
        is_last = dense.name == 'student_head'  # keeps its weights below 8 bits
        assert is_last or steps == pytest.approx(np.round(steps), abs=1e-4)


def test_the_file_holds_the_weights_that_a_student_learned_by(pole_actor, data, states):
    student = distilled(pole_actor, 8, data)
    model = read_model(FORMATS['int8'].write(student, states.observations))
    stored = [
        constant(model, step.inputs[1])
        for step in operators(model)
        if step.name == 'FULLY_CONNECTED'
    ]
    dense = [layer for layer in student.layers if isinstance(layer, keras.layers.Dense)]
    for integers, layer in list(zip(stored, dense, strict=True))[1:]:
        kernel = layer.get_weights()[0].T
        assert integers.dtype == np.int8
        assert integers == pytest.approx(127 * kernel / np.abs(kernel).max(), abs=1e-3)


def test_a_tuned_actor_loses_less_when_it_is_written(pole_actor, data, states):
    keras.utils.set_random_seed(0)
    longer = dataclasses.replace(data, config=dataclasses.replace(SHORT, final_updates=1000))

    def error_of(actor):
        written = FORMATS['int4'].write(actor, states.observations)
        interpreter = open_interpreter('litert', written)
        actions = run_interpreter(interpreter, states.observations)
        return float(np.sqrt(np.mean(np.square(actions - states.actions))))

    assert error_of(tuned(pole_actor, 4, longer)) < error_of(pole_actor)


def test_distillation_is_reproducible(pole_actor, data):
    def weights():
        student = distilled(pole_actor, 4, data)
        return [np.asarray(weight) for weight in student.trainable_variables]

    tf.config.experimental.enable_op_determinism()
    for first, second in zip(weights(), weights(), strict=True):
        assert first == pytest.approx(second, abs=1e-6)


def test_a_student_of_an_actor_that_clips_and_does_not_normalise_has_names_of_its_own():
    """Read from a file, the actor's operation is called as Keras calls the student's next one."""
    source = keras.Input((4,))
    clipped = keras.ops.clip(keras.layers.Dense(1)(keras.layers.Dense(8)(source)), -1.0, 1.0)
    actor = keras.Model(source, clipped)
    keras.utils.clear_session()
    seen = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    student = narrower(layer_chain(actor), 8, seen)
    assert student(seen).shape == (50, 1)
