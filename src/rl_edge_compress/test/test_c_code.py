"""Actors in C answer as LiteRT does, on this machine and on an emulated Cortex-M4."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest

from rl_edge_compress.__main__ import main
from rl_edge_compress.c_code import c_actor
from rl_edge_compress.export import export_artifact
from rl_edge_compress.export_formats import export_c, observations_for
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_policy.load import load_policy

needs_gcc = pytest.mark.skipif(shutil.which('gcc') is None, reason='no gcc')
CORTEX_M4 = ('arm-none-eabi-gcc', 'qemu-system-arm')
needs_cortex_m4 = pytest.mark.skipif(
    not all(map(shutil.which, CORTEX_M4)),
    reason=f'apt-get install gcc-arm-none-eabi {CORTEX_M4[1]}',
)
STRICT = ('-std=c99', '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-O2')
# Start-up code of our own, text by semihosting: an emulator needs no library for it.
BARE_METAL = """
#include "policy.h"
extern const float observations[];
extern const int count;
static unsigned call(unsigned number, const void *argument) {
  register unsigned r0 __asm__("r0") = number;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}
static void write_hex(unsigned value) {
  char text[10];
  int i;
  for (i = 0; i < 8; ++i) { text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15]; }
  text[8] = '\\n';
  text[9] = 0;
  call(4, text);
}
void reset(void) {
  int i, j;
  /* The floating-point unit is off after a reset. */
  *(volatile unsigned *)0xe000ed88 |= 0xf << 20;
  __asm__ volatile("dsb\\nisb");
  for (i = 0; i < count; ++i) {
    union { float value[POLICY_ACTIONS]; unsigned bits[POLICY_ACTIONS]; } action;
    policy_act(observations + i * POLICY_OBSERVATIONS, action.value);
    for (j = 0; j < POLICY_ACTIONS; ++j) { write_hex(action.bits[j]); }
  }
  call(0x18, (void *)0x20026);
  for (;;) { }
}
extern unsigned stack_top;
__attribute__((section(".vectors"), used)) static void *const vectors[] = {
  &stack_top, (void *)reset};
"""
LINKER_SCRIPT = """
MEMORY { FLASH (rx) : ORIGIN = 0, LENGTH = 4M  RAM (rw) : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > FLASH
  .bss : { *(.bss*) *(.data*) *(COMMON) } > RAM
  stack_top = ORIGIN(RAM) + LENGTH(RAM);
}
"""


@pytest.fixture(scope='module')
def artifact(build, spec, visited, tmp_path_factory):
    """Return an artifact with a selection, normalisation, LayerNorm and a scaled tanh."""
    folder = tmp_path_factory.mktemp('actor') / 'cart'
    model = build(layer_norm=True, kept=5, width=24)
    export_artifact(model, spec=spec, name='cart', out=folder, calibration=visited)
    return folder


def compiled(source, folder, name='policy'):
    library = folder / f'{name}.so'
    command = ['gcc', *STRICT, '-shared', '-fPIC', '-nostdlib', '-o', library, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    act = getattr(ctypes.CDLL(str(library)), f'{name}_act')

    def answer(observation, actions):
        action = np.empty(actions, np.float32)
        seen = np.ascontiguousarray(observation, np.float32)
        valid = act(seen.ctypes.data_as(ctypes.c_void_p), action.ctypes.data_as(ctypes.c_void_p))
        return action, valid

    return answer


def one_step(folder, recipe):
    """Return what one quantization step of the last 8-bit layer is in the action's units."""
    if recipe == 'float32':
        return 1e-5
    from rl_edge_compress.tflite_file import operators, read_model

    model = read_model((folder / f'actor_{recipe}.tflite').read_bytes())
    last = [step for step in operators(model) if step.name == 'FULLY_CONNECTED'][-1]
    scale = model.subgraphs[0].tensors[last.outputs[0]].quantization.scale[0]
    high = max(load_manifest(folder).environment.action_high)
    return float(scale) * high


@needs_gcc
@pytest.mark.parametrize('recipe', ['float32', 'int8'])
def test_c_answers_as_litert_within_one_quantization_step(artifact, visited, tmp_path, recipe):
    out = tmp_path / 'policy.c'
    name, constants, memory = export_c(artifact, out, recipe=recipe)
    assert name == recipe
    act = compiled(out, tmp_path)
    policy = load_policy(artifact, recipe=recipe)
    seen, _ = observations_for(policy)
    both = np.vstack([visited, seen])
    assert len(both) >= 1000
    ours = np.asarray([act(observation, 2)[0] for observation in both])
    theirs = np.asarray([policy.act(observation) for observation in both])
    assert theirs.std() > 0.1
    assert np.abs(ours - theirs).max() <= one_step(artifact, recipe) * 1.001
    # The weights of three dense layers, 5-24-24-2, and what lies beside them.
    weights = (5 * 24 + 24 * 24 + 24 * 2) * (1 if recipe == 'int8' else 4)
    assert weights < constants < weights + 1000
    assert memory <= 4 * 5 * 24


@needs_gcc
def test_c_answers_what_is_not_finite_with_the_safe_action(artifact, tmp_path):
    export_c(artifact, tmp_path / 'policy.c', recipe='float32')
    act = compiled(tmp_path / 'policy.c', tmp_path)
    safe = load_manifest(artifact).environment.safe_action
    for value in (np.nan, np.inf, -np.inf):
        action, valid = act([0, value, 0, 0, 0, 0], 2)
        assert valid == 0
        assert action.tolist() == list(safe)
    action, valid = act(np.zeros(6), 2)
    assert valid == 1


@needs_gcc
@pytest.mark.parametrize(
    'name',
    [
        'relu',
        'tanh',
        'elu',
        'selu',
        'gelu',
        'silu',
        'softplus',
        'softsign',
        'mish',
        'sigmoid',
        'leaky_relu',
        'hard_swish',
        'relu6',
        'softmax',
    ],
)
def test_every_activation_has_its_form_in_c(spec, tmp_path, name):
    import keras

    from rl_edge_compress.convert import float32_tflite

    keras.utils.set_random_seed(4)
    source = keras.Input((6,))
    hidden = keras.layers.Activation(name)(keras.layers.Dense(16)(source))
    model = keras.Model(source, keras.layers.Dense(2, activation='tanh')(hidden))
    actor = c_actor(float32_tflite(model), spec, name='policy', model_hash='0' * 64)
    (tmp_path / 'policy.c').write_text(actor.source)
    (tmp_path / 'policy.h').write_text(actor.header)
    act = compiled(tmp_path / 'policy.c', tmp_path)
    seen = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32) * 4
    ours = np.asarray([act(observation, 2)[0] for observation in seen])
    assert ours == pytest.approx(np.asarray(model(seen)), abs=4e-6)


@needs_gcc
@needs_cortex_m4
@pytest.mark.parametrize('recipe', ['float32', 'int8'])
def test_a_cortex_m4_answers_as_litert(artifact, visited, tmp_path, recipe):
    export_c(artifact, tmp_path / 'policy.c', recipe=recipe)
    seen = visited[:100]
    numbers = ', '.join(
        f'{float(value):.9g}f'
        if '.' in f'{float(value):.9g}' or 'e' in f'{float(value):.9g}'
        else f'{float(value):.1f}f'
        for value in seen.reshape(-1)
    )
    (tmp_path / 'data.c').write_text(
        f'const float observations[] = {{{numbers}}};\nconst int count = {len(seen)};\n'
    )
    (tmp_path / 'main.c').write_text(BARE_METAL)
    (tmp_path / 'link.ld').write_text(LINKER_SCRIPT)
    image = tmp_path / 'policy.elf'
    processor = ('-mcpu=cortex-m4', '-mthumb', '-mfloat-abi=hard', '-mfpu=fpv4-sp-d16')
    sources = [tmp_path / name for name in ('policy.c', 'main.c', 'data.c')]
    command = [
        'arm-none-eabi-gcc',
        *processor,
        '-std=gnu99',
        '-O2',
        '-ffreestanding',
        '-nostdlib',
        '-T',
        tmp_path / 'link.ld',
        '-o',
        image,
        *sources,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    machine = [
        'qemu-system-arm',
        '-M',
        'mps2-an386',
        '-nographic',
        '-monitor',
        'none',
        '-serial',
        'none',
        '-semihosting-config',
        'enable=on,target=native',
        '-kernel',
        image,
    ]
    ran = subprocess.run(machine, capture_output=True, text=True, check=False, timeout=120)
    words = re.findall(r'^[0-9a-f]{8}$', ran.stdout + ran.stderr, re.MULTILINE)
    ours = np.array([int(word, 16) for word in words], np.uint32).view(np.float32).reshape(-1, 2)
    policy = load_policy(artifact, recipe=recipe)
    theirs = np.asarray([policy.act(observation) for observation in seen])
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= one_step(artifact, recipe) * 1.001


def test_a_recipe_or_a_name_that_c_does_not_take_is_named(build, spec, visited, tmp_path, capsys):
    export_artifact(
        build(),
        spec=spec,
        name='cart',
        out=tmp_path / 'cart',
        recipes=('float32', 'dynamic'),
        calibration=visited,
    )
    folder = str(tmp_path / 'cart')
    for arguments, message in (
        (['--recipe', 'dynamic', '--out', 'policy.c'], 'write the recipe int8'),
        (['--recipe', 'keras', '--out', 'policy.c'], 'take float32 or int8'),
        (['--recipe', 'int3', '--out', 'policy.c'], "no recipe 'int3'"),
        (['--out', 'my-policy.c'], 'must be NAME.c'),
        (['--out', str(tmp_path)], 'must be a file such as policy.c'),
    ):
        assert main(['export', folder, '--format', 'c', *arguments]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ArtifactError, match='there is one of ABS'):
        c_actor(_cosine(), spec, name='policy', model_hash='')


def _cosine():
    import keras

    from rl_edge_compress.convert import float32_tflite

    source = keras.Input((6,))
    return float32_tflite(keras.Model(source, keras.layers.Dense(2)(keras.ops.cos(source))))
