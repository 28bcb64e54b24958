"""Write an actor as C99: one function over constant weights, for computers too small for Linux.

The code is generated from the operators of a `.tflite` file, so that the C actor is the file that
was measured. It needs no library and no heap; what it computes in lies in one static array whose
parts are used again. 8-bit layers add up in 32-bit integers as TensorFlow Lite's do, and round
once, in float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_compress.tflite_file import Operator, constant, operators, read_model, type_name
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError

_ALIGNMENT = 4
_TYPES = {'float32': 'float', 'int8': 'int8_t', 'bool': 'uint8_t'}
_WIDTHS = {'float32': 4, 'int8': 1, 'bool': 1}


@dataclass(frozen=True)
class CActor:
    """The two files of an actor in C."""

    source: str
    header: str
    weights_bytes: int
    """Constants, in flash."""
    memory_bytes: int
    """The static array that it computes in, in RAM."""


def c_actor(content: bytes, spec: EnvironmentSpec, *, name: str, model_hash: str) -> CActor:
    """Return a `.tflite` actor, float32 or 8-bit, as C99 of the prefix ``name``.

    Raise ArtifactError for an operator or a type that it has no form for.
    """
    return _Writer(read_model(content), spec, name, model_hash).written()


class _Writer:
    """One actor on its way to C."""

    def __init__(self, model: Any, spec: EnvironmentSpec, name: str, model_hash: str) -> None:
        self.model, self.spec, self.name, self.model_hash = model, spec, name, model_hash
        self.tensors = model.subgraphs[0].tensors
        self.steps = list(operators(model))
        self.constants: dict[int, np.ndarray] = {}
        for index in range(len(self.tensors)):
            value = constant(model, index)
            if value is not None:
                self.constants[index] = value
        self.used: set[int] = set()
        self.functions: set[str] = set()
        self.result = int(model.subgraphs[0].outputs[0])
        self.source = int(model.subgraphs[0].inputs[0])

    def written(self) -> CActor:
        places, memory = self._places()
        body = [line for step in self.steps for line in self._step(step)]
        weights = [line for index in sorted(self.used) for line in self._weights(index)]
        size = sum(self.constants[index].nbytes for index in self.used)
        pointers = [
            f'  {_TYPES[self.kind(index)]} *const t{index} = ({_TYPES[self.kind(index)]} *)'
            f'(memory + {place});'
            for index, place in places.items()
        ]
        return CActor(
            source=self._source_text(weights, pointers, body, memory),
            header=self._header_text(),
            weights_bytes=size,
            memory_bytes=memory,
        )

    # Tensors ------------------------------------------------------------------------------

    def kind(self, index: int) -> str:
        name = type_name(self.tensors[index])
        if name not in _TYPES:
            raise ArtifactError(
                f'the file has tensors of type {name}: only recipes in float32 or with 8-bit '
                f'weights and activations, such as float32 and int8, can be written as C'
            )
        return name

    def size(self, index: int) -> int:
        shape = self.tensors[index].shape
        return int(np.prod([int(n) for n in shape])) if shape is not None else 1

    def width(self, index: int) -> int:
        """Return the length of a tensor's last axis."""
        shape = self.tensors[index].shape
        return int(shape[-1]) if shape is not None and len(shape) else 1

    def at(self, index: int, place: str) -> str:
        """Return an element of a tensor in C; a tensor of one element is the same everywhere."""
        if index in self.constants:
            self.used.add(index)
        return f't{index}[{0 if self.size(index) == 1 else place}]'

    def quantization(self, index: int) -> tuple[float, int]:
        stored = self.tensors[index].quantization
        if stored is None or stored.scale is None or len(stored.scale) != 1:
            raise ArtifactError(
                'the file has a scale per channel or none: write the recipe int8 as C'
            )
        return float(stored.scale[0]), int(stored.zeroPoint[0])

    def _places(self) -> tuple[dict[int, int], int]:
        """Return where each computed tensor lies in the memory, and how large that is."""
        born: dict[int, int] = {}
        last: dict[int, int] = {}
        for number, step in enumerate(self.steps):
            for index in step.outputs:
                born[index] = number
            for index in (*step.inputs, *step.outputs):
                last[index] = number
        last[self.result] = len(self.steps)
        places: dict[int, int] = {}
        taken: list[tuple[int, int, int]] = []  # place, end, index
        for index in born:
            size = -(-self.size(index) * _WIDTHS[self.kind(index)] // _ALIGNMENT) * _ALIGNMENT
            alive = sorted(
                (place, end)
                for place, end, other in taken
                if last[other] >= born[index] and born[other] <= last[index]
            )
            place = 0
            for start, end in alive:
                if place + size <= start:
                    break
                place = max(place, end)
            places[index] = place
            taken.append((place, place + size, index))
        return places, max((end for _, end, _ in taken), default=0)

    def _weights(self, index: int) -> list[str]:
        values = self.constants[index].reshape(-1)
        kind = 'int32_t' if values.dtype == np.int32 else _TYPES[self.kind(index)]
        written = [_number(value) for value in values]
        lines = [f'static const {kind} t{index}[{len(written)}] = {{']
        row = 8 if kind == 'float' else 20
        lines += [
            '  ' + ', '.join(written[start : start + row]) + ','
            for start in range(0, len(written), row)
        ]
        return [*lines, '};', '']

    # Operators ----------------------------------------------------------------------------

    def _step(self, step: Operator) -> list[str]:
        write = _WRITERS.get(step.name)
        if write is None:
            raise ArtifactError(
                f'operator {step.name} has no form in C; there is one of '
                f'{", ".join(sorted(_WRITERS))}: write another recipe'
            )
        return [f'  /* {step.name} */', *write(self, step), *self._fused(step)]

    def _fused(self, step: Operator) -> list[str]:
        code = getattr(step.options, 'fusedActivationFunction', 0) or 0
        (result, *_) = step.outputs
        if not code or self.kind(result) == 'int8':
            return []
        form = {1: 'RELU', 2: 'RELU_N1_TO_1', 3: 'RELU6', 4: 'TANH'}[code]
        return self.loop(result, self.unary(form, self.at(result, 'i')))

    def loop(self, result: int, value: str) -> list[str]:
        return [f'  for (i = 0; i < {self.size(result)}; ++i) {{ t{result}[i] = {value}; }}']

    def unary(self, name: str, x: str) -> str:
        form, needed = _UNARY[name]
        self.functions.update(needed)
        return form.format(x=x)

    def dense(self, step: Operator) -> list[str]:
        x, kernel, *rest = step.inputs
        bias = rest[0] if rest and rest[0] >= 0 else None
        (result,) = step.outputs
        units, inputs = self.size(result), self.size(kernel) // self.size(result)
        self.used.add(kernel)
        if bias is not None:
            self.used.add(bias)
        start = f't{bias}[i]' if bias is not None else '0'
        if self.kind(result) == 'int8':
            return self._dense_int8(x, kernel, result, start, units, inputs, step)
        if self.kind(kernel) != 'float32' or self.kind(x) != 'float32':
            raise ArtifactError(
                '8-bit weights with float32 activations have no form in C: write the recipe int8'
            )
        return [
            f'  for (i = 0; i < {units}; ++i) {{',
            f'    const float *w = t{kernel} + i * {inputs};',
            f'    float sum = {start};',
            f'    for (j = 0; j < {inputs}; ++j) {{ sum += t{x}[j] * w[j]; }}',
            f'    t{result}[i] = sum;',
            '  }',
        ]

    def _dense_int8(
        self,
        x: int,
        kernel: int,
        result: int,
        start: str,
        units: int,
        inputs: int,
        step: Operator,
    ) -> list[str]:
        (x_scale, x_zero), (scale, zero) = self.quantization(x), self.quantization(result)
        weight_scale, _ = self.quantization(kernel)
        code = getattr(step.options, 'fusedActivationFunction', 0) or 0
        low, high = -128, 127
        if code == 1:
            low = zero
        elif code in (2, 3):
            bounds = (-1.0, 1.0) if code == 2 else (0.0, 6.0)
            low, high = (int(np.clip(round(b / scale) + zero, -128, 127)) for b in bounds)
        elif code:
            raise ArtifactError('an 8-bit layer with a fused tanh has no form in C')
        self.functions.add('round')
        factor = _number(np.float32(x_scale * weight_scale / scale))
        return [
            f'  for (i = 0; i < {units}; ++i) {{',
            f'    const int8_t *w = t{kernel} + i * {inputs};',
            f'    int32_t sum = {start};',
            f'    for (j = 0; j < {inputs}; ++j) {{',
            f'      sum += ((int32_t)t{x}[j] - ({x_zero})) * w[j];',
            '    }',
            f'    sum = policy_round((float)sum * {factor}) + ({zero});',
            f'    t{result}[i] = (int8_t)(sum < {low} ? {low} : sum > {high} ? {high} : sum);',
            '  }',
        ]

    def quantize(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        scale, zero = self.quantization(result)
        self.functions.add('round')
        if self.kind(x) == 'int8':
            old_scale, old_zero = self.quantization(x)
            real = f'((float)t{x}[i] - ({old_zero}.0f)) * {_number(np.float32(old_scale / scale))}'
        else:
            real = f't{x}[i] * {_number(np.float32(1.0 / scale))}'
        return [
            f'  for (i = 0; i < {self.size(result)}; ++i) {{',
            f'    const float real = {real};',
            '    /* A value far outside the range must not overflow the integer. */',
            '    const int32_t step = real < -512.0f ? -512 : real > 512.0f ? 512 : '
            'policy_round(real);',
            f'    const int32_t q = step + ({zero});',
            f'    t{result}[i] = (int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);',
            '  }',
        ]

    def dequantize(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        scale, zero = self.quantization(x)
        factor = _number(np.float32(scale))
        return self.loop(result, f'(float)((int32_t)t{x}[i] - ({zero})) * {factor}')

    def mean(self, step: Operator, *, divides: bool = True) -> list[str]:
        x, _ = step.inputs
        (result,) = step.outputs
        if self.size(result) != 1:
            raise ArtifactError('only a mean or a sum over all values has a form in C')
        size = self.size(x)
        share = f' * {_number(np.float32(1.0 / size))}' if divides else ''
        return [
            '  {',
            '    float sum = 0.0f;',
            f'    for (i = 0; i < {size}; ++i) {{ sum += t{x}[i]; }}',
            f'    t{result}[0] = sum{share};',
            '  }',
        ]

    def softmax(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        self.functions.add('exp')
        size, beta = self.size(x), _number(np.float32(step.options.beta))
        return [
            '  {',
            f'    float top = t{x}[0], sum = 0.0f;',
            f'    for (i = 1; i < {size}; ++i) {{ if (t{x}[i] > top) {{ top = t{x}[i]; }} }}',
            f'    for (i = 0; i < {size}; ++i) {{',
            f'      t{result}[i] = policy_exp({beta} * (t{x}[i] - top));',
            f'      sum += t{result}[i];',
            '    }',
            f'    for (i = 0; i < {size}; ++i) {{ t{result}[i] /= sum; }}',
            '  }',
        ]

    def strided_slice(self, step: Operator) -> list[str]:
        x, *parts = step.inputs
        begin, _, strides = (self.constants[index].reshape(-1) for index in parts[:3])
        last = len(begin) - 1
        first = 0 if step.options.beginMask >> last & 1 else int(begin[last])
        stride = int(strides[last])
        if first < 0:
            first += self.width(x)
        (result,) = step.outputs
        return self.loop(result, f't{x}[{first} + {stride} * i]')

    def gather(self, step: Operator) -> list[str]:
        x, indices = step.inputs
        if indices not in self.constants:
            raise ArtifactError('only constant indices have a form in C')
        self.used.add(indices)
        (result,) = step.outputs
        return self.loop(result, f't{x}[t{indices}[i]]')

    def split(self, step: Operator) -> list[str]:
        x = step.inputs[1]
        lines, start = [], 0
        for result in step.outputs:
            lines += self.loop(result, f't{x}[{start} + i]')
            start += self.size(result)
        return lines

    def concatenation(self, step: Operator) -> list[str]:
        (result,) = step.outputs
        lines, start = [], 0
        for x in step.inputs:
            size = self.size(x)
            value = self.at(x, 'i')
            lines.append(f'  for (i = 0; i < {size}; ++i) {{ t{result}[{start} + i] = {value}; }}')
            start += size
        return lines

    # Text ---------------------------------------------------------------------------------

    def _source_text(
        self, weights: Sequence[str], pointers: Sequence[str], body: Sequence[str], memory: int
    ) -> str:
        spec, name = self.spec, self.name
        functions = [_FUNCTIONS[key] for key in _FUNCTIONS if key in _with_needed(self.functions)]
        safe = ', '.join(_number(np.float32(v)) for v in spec.safe_action)
        low = ', '.join(_number(np.float32(v)) for v in spec.action_low)
        high = ', '.join(_number(np.float32(v)) for v in spec.action_high)
        return '\n'.join(
            [
                f'/* Policy {self.model_hash[:16]} for {spec.environment_id}; see {name}.h.',
                '   Generated by rl_edge export: do not edit. */',
                f'#include "{name}.h"',
                '',
                '#include <stdint.h>',
                '',
                *functions,
                *weights,
                f'static const float safe_action[{spec.action_size}] = {{{safe}}};',
                f'static const float action_low[{spec.action_size}] = {{{low}}};',
                f'static const float action_high[{spec.action_size}] = {{{high}}};',
                '/* Words, so that it is aligned for floats. */',
                f'static uint32_t words[{max(1, memory // 4)}];',
                '',
                f'int {name}_act(const float observation[{name.upper()}_OBSERVATIONS],',
                f'               float action[{name.upper()}_ACTIONS]) {{',
                '  uint8_t *const memory = (uint8_t *)words;',
                f'  const float *const t{self.source} = observation;',
                *pointers,
                '  int32_t i, j;',
                '  int is_valid = 1;',
                '  (void)j;',
                '  (void)memory;',
                '  for (i = 0; i < ' + f'{spec.observation_size}; ++i) {{',
                '    /* False for NaN and for the infinities. */',
                '    if (!(observation[i] - observation[i] == 0.0f)) { is_valid = 0; }',
                '  }',
                *body,
                f'  for (i = 0; i < {spec.action_size}; ++i) {{',
                f'    float value = t{self.result}[i];',
                '    if (!(value - value == 0.0f)) { is_valid = 0; }',
                '    value = value < action_low[i] ? action_low[i] : value;',
                '    action[i] = value > action_high[i] ? action_high[i] : value;',
                '  }',
                '  if (!is_valid) {',
                f'    for (i = 0; i < {spec.action_size}; ++i) {{ action[i] = safe_action[i]; }}',
                '  }',
                '  return is_valid;',
                '}',
                '',
            ]
        )

    def _header_text(self) -> str:
        spec, name = self.spec, self.name
        guard = f'{name.upper()}_H'
        observations = [
            f'     {number:3} {value} ({unit})'
            for number, (value, unit) in enumerate(
                zip(spec.observation_names, spec.observation_units, strict=True)
            )
        ]
        actions = [
            f'     {number:3} {value} ({unit}), {low:g} to {high:g}'
            for number, (value, unit, low, high) in enumerate(
                zip(
                    spec.action_names,
                    spec.action_units,
                    spec.action_low,
                    spec.action_high,
                    strict=True,
                )
            )
        ]
        return '\n'.join(
            [
                f'/* Policy {self.model_hash[:16]} for {spec.environment_id}, in C99: no heap and',
                '   no library. Not for two threads at once: it computes in static memory.',
                '   Generated by rl_edge export: do not edit.',
                '',
                f'   Call it every {spec.control_period_sec:g} s. Observation:',
                *observations,
                '   Action:',
                *actions,
                '*/',
                f'#ifndef {guard}',
                f'#define {guard}',
                '',
                f'#define {name.upper()}_OBSERVATIONS {spec.observation_size}',
                f'#define {name.upper()}_ACTIONS {spec.action_size}',
                f'#define {name.upper()}_HASH "{self.model_hash}"',
                '',
                '#ifdef __cplusplus',
                'extern "C" {',
                '#endif',
                '',
                '/* Write the action for an observation and return 1; when either is not finite,',
                '   write the safe action and return 0. */',
                f'int {name}_act(const float observation[{name.upper()}_OBSERVATIONS],',
                f'               float action[{name.upper()}_ACTIONS]);',
                '',
                '#ifdef __cplusplus',
                '}',
                '#endif',
                '',
                f'#endif /* {guard} */',
                '',
            ]
        )


def _number(value: Any) -> str:
    if isinstance(value, np.floating):
        if not np.isfinite(value):
            return '(1.0f / 0.0f)' if value > 0 else '(-1.0f / 0.0f)'
        text = f'{float(value):.9g}'
        return f'{text}f' if '.' in text or 'e' in text else f'{text}.0f'
    return str(int(value))


def _binary(form: str, *needed: str) -> Callable[[_Writer, Operator], list[str]]:
    def write(writer: _Writer, step: Operator) -> list[str]:
        left, right = step.inputs
        (result,) = step.outputs
        writer.functions.update(needed)
        return writer.loop(result, form.format(a=writer.at(left, 'i'), b=writer.at(right, 'i')))

    return write


def _unary_writer(name: str) -> Callable[[_Writer, Operator], list[str]]:
    def write(writer: _Writer, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        return writer.loop(result, writer.unary(name, writer.at(x, 'i')))

    return write


def _leaky(writer: _Writer, step: Operator) -> list[str]:
    (x,), (result,) = step.inputs, step.outputs
    alpha = _number(np.float32(step.options.alpha))
    return writer.loop(result, f't{x}[i] > 0.0f ? t{x}[i] : t{x}[i] * {alpha}')


def _select(writer: _Writer, step: Operator) -> list[str]:
    where, then, other = (writer.at(index, 'i') for index in step.inputs)
    return writer.loop(step.outputs[0], f'{where} ? {then} : {other}')


def _copy(writer: _Writer, step: Operator) -> list[str]:
    return writer.loop(step.outputs[0], f't{step.inputs[0]}[i]')


_UNARY: Mapping[str, tuple[str, tuple[str, ...]]] = {
    'NEG': ('-{x}', ()),
    'ABS': ('{x} < 0.0f ? -{x} : {x}', ()),
    'SQUARE': ('{x} * {x}', ()),
    'SQRT': ('policy_sqrt({x})', ('sqrt',)),
    'RSQRT': ('1.0f / policy_sqrt({x})', ('sqrt',)),
    'EXP': ('policy_exp({x})', ('exp',)),
    'LOG': ('policy_log({x})', ('log',)),
    'TANH': ('policy_tanh({x})', ('tanh',)),
    'LOGISTIC': ('policy_logistic({x})', ('logistic',)),
    'ELU': ('{x} > 0.0f ? {x} : policy_expm1({x})', ('expm1',)),
    'RELU': ('{x} > 0.0f ? {x} : 0.0f', ()),
    'RELU6': ('{x} < 0.0f ? 0.0f : {x} > 6.0f ? 6.0f : {x}', ()),
    'RELU_N1_TO_1': ('{x} < -1.0f ? -1.0f : {x} > 1.0f ? 1.0f : {x}', ()),
    'HARD_SWISH': (
        '{x} * ({x} < -3.0f ? 0.0f : {x} > 3.0f ? 6.0f : {x} + 3.0f) / 6.0f',
        (),
    ),
    'GELU': ('0.5f * {x} * (1.0f + policy_erf({x} * 0.70710678f))', ('erf',)),
}
_WRITERS: Mapping[str, Callable[[_Writer, Operator], list[str]]] = {
    'FULLY_CONNECTED': _Writer.dense,
    'QUANTIZE': _Writer.quantize,
    'DEQUANTIZE': _Writer.dequantize,
    'MEAN': _Writer.mean,
    'SUM': lambda writer, step: writer.mean(step, divides=False),
    'SOFTMAX': _Writer.softmax,
    'STRIDED_SLICE': _Writer.strided_slice,
    'GATHER': _Writer.gather,
    'SPLIT': _Writer.split,
    'CONCATENATION': _Writer.concatenation,
    'RESHAPE': _copy,
    'LEAKY_RELU': _leaky,
    'SELECT': _select,
    'SELECT_V2': _select,
    'ADD': _binary('{a} + {b}'),
    'SUB': _binary('{a} - {b}'),
    'MUL': _binary('{a} * {b}'),
    'DIV': _binary('{a} / {b}'),
    'MINIMUM': _binary('{a} < {b} ? {a} : {b}'),
    'MAXIMUM': _binary('{a} > {b} ? {a} : {b}'),
    'SQUARED_DIFFERENCE': _binary('({a} - {b}) * ({a} - {b})'),
    'GREATER': _binary('{a} > {b}'),
    'PRELU': _binary('{a} > 0.0f ? {a} : {a} * {b}'),
    **{name: _unary_writer(name) for name in _UNARY},
}

_NEEDS = {
    'tanh': ('expm1',),
    'logistic': ('exp',),
    'expm1': ('exp',),
    'erf': ('exp',),
    'exp': ('round',),
}


def _with_needed(names: set[str]) -> set[str]:
    found = set(names)
    for name in names:
        found |= _with_needed(set(_NEEDS.get(name, ())))
    return found


_FUNCTIONS = {
    'round': """\
/* The nearest integer, halves away from zero. */
static int32_t policy_round(float x) {
  return (int32_t)(x < 0.0f ? x - 0.5f : x + 0.5f);
}
""",
    'exp': """\
/* e^x by 2^k times a polynomial of the rest, to 2e-7 of its value. */
static float policy_exp(float x) {
  union { uint32_t bits; float value; } power;
  float rest, result;
  int32_t k;
  if (!(x > -87.0f)) { return x == x ? 0.0f : x; }
  if (x > 88.0f) { x = 88.0f; }
  k = policy_round(x * 1.44269504f);
  rest = (x - (float)k * 0.693359375f) + (float)k * 2.12194440e-4f;
  result = 1.0f / 5040.0f;
  result = result * rest + 1.0f / 720.0f;
  result = result * rest + 1.0f / 120.0f;
  result = result * rest + 1.0f / 24.0f;
  result = result * rest + 1.0f / 6.0f;
  result = result * rest + 0.5f;
  result = result * rest + 1.0f;
  result = result * rest + 1.0f;
  power.bits = (uint32_t)(k + 127) << 23;
  return result * power.value;
}
""",
    'expm1': """\
/* e^x - 1; near 0 by its series, where the difference would lose digits. */
static float policy_expm1(float x) {
  if (x > -0.25f && x < 0.25f) {
    return x * (1.0f + x * (0.5f + x * (1.0f / 6.0f + x * (1.0f / 24.0f +
           x * (1.0f / 120.0f + x * (1.0f / 720.0f))))));
  }
  return policy_exp(x) - 1.0f;
}
""",
    'tanh': """\
static float policy_tanh(float x) {
  float t;
  if (x > 9.0f) { return 1.0f; }
  if (x < -9.0f) { return -1.0f; }
  t = policy_expm1(x < 0.0f ? 2.0f * x : -2.0f * x);
  return x < 0.0f ? t / (t + 2.0f) : -t / (t + 2.0f);
}
""",
    'logistic': """\
static float policy_logistic(float x) {
  float t;
  if (x >= 0.0f) { return 1.0f / (1.0f + policy_exp(-x)); }
  t = policy_exp(x);
  return t / (1.0f + t);
}
""",
    'sqrt': """\
/* Newton's method from a guess that halves the exponent. */
static float policy_sqrt(float x) {
  union { uint32_t bits; float value; } guess;
  int32_t i;
  if (!(x > 0.0f)) { return x == 0.0f ? 0.0f : (x - x) / (x - x); }
  guess.value = x;
  guess.bits = (guess.bits >> 1) + 0x1fbd1df5u;
  for (i = 0; i < 4; ++i) { guess.value = 0.5f * (guess.value + x / guess.value); }
  return guess.value;
}
""",
    'log': """\
/* The natural logarithm by the series of its mantissa around 1. */
static float policy_log(float x) {
  union { uint32_t bits; float value; } part;
  float s, z;
  int32_t k;
  if (!(x > 0.0f)) { return x == 0.0f ? -1.0e30f : (x - x) / (x - x); }
  part.value = x;
  k = (int32_t)(part.bits >> 23) - 127;
  part.bits = (part.bits & 0x007fffffu) | 0x3f800000u;
  if (part.value > 1.41421356f) { part.value *= 0.5f; ++k; }
  s = (part.value - 1.0f) / (part.value + 1.0f);
  z = s * s;
  return (float)k * 0.693147181f + 2.0f * s * (1.0f + z * (1.0f / 3.0f + z * (1.0f / 5.0f +
         z * (1.0f / 7.0f + z * (1.0f / 9.0f)))));
}
""",
    'erf': """\
/* Abramowitz & Stegun 7.1.26, to 1.5e-7. */
static float policy_erf(float x) {
  const float size = x < 0.0f ? -x : x;
  const float t = 1.0f / (1.0f + 0.3275911f * size);
  const float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f +
                     t * (-1.453152027f + t * 1.061405429f)))) * policy_exp(-size * size);
  return x < 0.0f ? tail - 1.0f : 1.0f - tail;
}
""",
}
"""What C's mathematical library would give, as far as actors need it."""
