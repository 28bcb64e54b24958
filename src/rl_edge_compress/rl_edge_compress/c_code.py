"""Write an actor as C99: one function over constant weights, for computers too small for Linux.

The code is generated from the operators of a `.tflite` file, so that the C actor is the file that
was measured. It needs no library and no heap; what it computes in lies in one static array whose
parts are used again. 8-bit layers add up in 32-bit integers as TensorFlow Lite's do, and round
once, in float32.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from rl_edge_compress.tflite_file import Operator, constant, operators, read_model, type_name
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError

_ALIGNMENT = 4
_TYPES = {'float32': 'float', 'int8': 'int8_t', 'bool': 'uint8_t'}
_WIDTHS = {'float32': 4, 'int8': 1, 'bool': 1}
_HERE = Path(__file__).parent
_FUSED = {1: 'RELU', 2: 'RELU_N1_TO_1', 3: 'RELU6', 4: 'TANH'}
"""TFLite's ActivationFunctionType."""
_ELEMENTWISE: Mapping[str, str] = {
    'RESHAPE': '{0}',
    'NEG': '-{0}',
    'ABS': '{0} < 0.0f ? -{0} : {0}',
    'SQUARE': '{0} * {0}',
    'SQRT': 'policy_sqrt({0})',
    'RSQRT': '1.0f / policy_sqrt({0})',
    'EXP': 'policy_exp({0})',
    'LOG': 'policy_log({0})',
    'TANH': 'policy_tanh({0})',
    'LOGISTIC': 'policy_logistic({0})',
    'ELU': '{0} > 0.0f ? {0} : policy_expm1({0})',
    'RELU': '{0} > 0.0f ? {0} : 0.0f',
    'RELU6': '{0} < 0.0f ? 0.0f : {0} > 6.0f ? 6.0f : {0}',
    'RELU_N1_TO_1': '{0} < -1.0f ? -1.0f : {0} > 1.0f ? 1.0f : {0}',
    'LEAKY_RELU': '{0} > 0.0f ? {0} : {0} * {alpha}',
    'HARD_SWISH': '{0} * ({0} < -3.0f ? 0.0f : {0} > 3.0f ? 6.0f : {0} + 3.0f) / 6.0f',
    'GELU': '0.5f * {0} * (1.0f + policy_erf({0} * 0.70710678f))',
    'ADD': '{0} + {1}',
    'SUB': '{0} - {1}',
    'MUL': '{0} * {1}',
    'DIV': '{0} / {1}',
    'MINIMUM': '{0} < {1} ? {0} : {1}',
    'MAXIMUM': '{0} > {1} ? {0} : {1}',
    'SQUARED_DIFFERENCE': '({0} - {1}) * ({0} - {1})',
    'GREATER': '{0} > {1}',
    'PRELU': '{0} > 0.0f ? {0} : {0} * {1}',
    'SELECT': '{0} ? {1} : {2}',
    'SELECT_V2': '{0} ? {1} : {2}',
}
"""What an element of the result is, from those of the inputs."""


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
    writer = _Writer(read_model(content))
    places, memory = writer.places()
    body = [line for step in writer.steps for line in writer.step(step)]
    pointers = []
    for index, place in places.items():
        kind = _TYPES[writer.kind(index)]
        pointers.append(f'  {kind} *const t{index} = ({kind} *)(memory + {place});')
    common = {
        'name': name,
        'NAME': name.upper(),
        'hash': model_hash,
        'hash_start': model_hash[:16],
        'environment': spec.environment_id,
        'observations': spec.observation_size,
        'actions': spec.action_size,
    }
    return CActor(
        source=_filled(
            'policy.c.in',
            **common,
            functions=_functions_for('\n'.join(body)),
            weights='\n'.join(
                line for index in sorted(writer.used) for line in writer.weights(index)
            ),
            safe=_numbers(spec.safe_action),
            low=_numbers(spec.action_low),
            high=_numbers(spec.action_high),
            words=max(1, memory // 4),
            source=writer.source,
            pointers='\n'.join(pointers),
            body='\n'.join(body),
            result=writer.result,
        ),
        header=_filled(
            'policy.h.in',
            **common,
            period=f'{spec.control_period_sec:g}',
            observation_values=_listed(
                f'{name} ({unit})'
                for name, unit in zip(spec.observation_names, spec.observation_units, strict=True)
            ),
            action_values=_listed(
                f'{spec.action_names[n]} ({spec.action_units[n]}), {low:g} to {high:g}'
                for n, (low, high) in enumerate(
                    zip(spec.action_low, spec.action_high, strict=True)
                )
            ),
        ),
        weights_bytes=sum(writer.constants[index].nbytes for index in writer.used),
        memory_bytes=memory,
    )


def _filled(template: str, **values: Any) -> str:
    return Template((_HERE / template).read_text()).substitute(values)


def _listed(values: Iterable[str]) -> str:
    return '\n'.join(f'     {number:3} {value}' for number, value in enumerate(values))


def _functions_for(body: str) -> str:
    """Return the functions of c_functions.c that ``body`` calls, and those that they call."""
    _, *blocks = (_HERE / 'c_functions.c').read_text().split('\n\n')
    called = body
    kept: list[str] = []
    for block in reversed(blocks):
        (name,) = re.findall(r'^static \w+ (policy_\w+)\(', block, re.MULTILINE)
        if f'{name}(' in called:
            kept.insert(0, block.strip() + '\n')
            called += block
    return '\n'.join(kept)


class _Writer:
    """The graph of an actor, and its tensors and operators as C."""

    def __init__(self, model: Any) -> None:
        graph = model.subgraphs[0]
        self.tensors = graph.tensors
        self.steps = list(operators(model))
        stored = ((index, constant(model, index)) for index in range(len(self.tensors)))
        self.constants = {index: value for index, value in stored if value is not None}
        self.used: set[int] = set()
        self.source, self.result = int(graph.inputs[0]), int(graph.outputs[0])

    # Tensors ------------------------------------------------------------------------------

    def kind(self, index: int) -> str:
        name = type_name(self.tensors[index])
        if name not in _TYPES:
            raise ArtifactError(
                f'the file has tensors of type {name}: only recipes in float32 or with 8-bit '
                f'weights and activations, such as float32 and int8, can be written as C'
            )
        return name

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.tensors[index].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def size(self, index: int) -> int:
        return int(np.prod(self.shape(index)))

    def at(self, index: int, place: str = 'i') -> str:
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

    def places(self) -> tuple[dict[int, int], int]:
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

    def weights(self, index: int) -> list[str]:
        values = self.constants[index].reshape(-1)
        kind = 'int32_t' if values.dtype == np.int32 else _TYPES[self.kind(index)]
        row = 8 if kind == 'float' else 20
        return [
            f'static const {kind} t{index}[{len(values)}] = {{',
            *(
                f'  {", ".join(map(_number, values[start : start + row]))},'
                for start in range(0, len(values), row)
            ),
            '};',
            '',
        ]

    # Operators ----------------------------------------------------------------------------

    def step(self, step: Operator) -> list[str]:
        if step.name in _ELEMENTWISE:
            lines = self.elementwise(step.name, step)
        elif step.name in _WRITERS:
            lines = _WRITERS[step.name](self, step)
        else:
            raise ArtifactError(
                f'operator {step.name} has no form in C; there is one of '
                f'{", ".join(sorted((*_ELEMENTWISE, *_WRITERS)))}: write another recipe'
            )
        code = getattr(step.options, 'fusedActivationFunction', 0) or 0
        (result, *_) = step.outputs
        if code and self.kind(result) != 'int8':
            lines += self.loop(result, _ELEMENTWISE[_FUSED[code]].format(self.at(result)))
        return [f'  /* {step.name} */', *lines]

    def loop(self, result: int, value: str) -> list[str]:
        return [f'  for (i = 0; i < {self.size(result)}; ++i) {{ t{result}[i] = {value}; }}']

    def elementwise(self, name: str, step: Operator) -> list[str]:
        alpha = _number(np.float32(getattr(step.options, 'alpha', 0.0)))
        inputs = step.inputs[:1] if name == 'RESHAPE' else step.inputs
        value = _ELEMENTWISE[name].format(*map(self.at, inputs), alpha=alpha)
        return self.loop(step.outputs[0], value)

    def dense(self, step: Operator) -> list[str]:
        x, kernel, *rest = step.inputs
        bias = rest[0] if rest and rest[0] >= 0 else None
        (result,) = step.outputs
        units, inputs = self.size(result), self.size(kernel) // self.size(result)
        self.used.update({kernel} if bias is None else {kernel, bias})
        start = f't{bias}[i]' if bias is not None else '0'
        if self.kind(result) == 'int8':
            kind, total, (x_zero, finish) = 'int8_t', 'int32_t', self.dense_int8(step)
            product = f'((int32_t)t{x}[j] - ({x_zero})) * w[j]'
        elif self.kind(kernel) == self.kind(x) == 'float32':
            kind = total = 'float'
            product, finish = f't{x}[j] * w[j]', [f'    t{result}[i] = sum;']
        else:
            raise ArtifactError(
                '8-bit weights with float32 activations have no form in C: write the recipe int8'
            )
        return [
            f'  for (i = 0; i < {units}; ++i) {{',
            f'    const {kind} *w = t{kernel} + i * {inputs};',
            f'    {total} sum = {start};',
            f'    for (j = 0; j < {inputs}; ++j) {{ sum += {product}; }}',
            *finish,
            '  }',
        ]

    def dense_int8(self, step: Operator) -> tuple[int, list[str]]:
        """Return the zero point of the inputs, and how a sum becomes an 8-bit result."""
        x, kernel, *_ = step.inputs
        (result,) = step.outputs
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
        factor = _number(np.float32(x_scale * weight_scale / scale))
        return x_zero, [
            f'    sum = policy_round((float)sum * {factor}) + ({zero});',
            f'    t{result}[i] = (int8_t)(sum < {low} ? {low} : sum > {high} ? {high} : sum);',
        ]

    def quantize(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        scale, zero = self.quantization(result)
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

    def total(self, step: Operator) -> list[str]:
        x, _ = step.inputs
        (result,) = step.outputs
        if self.size(result) != 1:
            raise ArtifactError('only a mean or a sum over all values has a form in C')
        size = self.size(x)
        share = f' * {_number(np.float32(1.0 / size))}' if step.name == 'MEAN' else ''
        return [
            '  {',
            '    float sum = 0.0f;',
            f'    for (i = 0; i < {size}; ++i) {{ sum += t{x}[i]; }}',
            f'    t{result}[0] = sum{share};',
            '  }',
        ]

    def softmax(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
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
        first += self.shape(x)[-1] if first < 0 else 0
        return self.loop(step.outputs[0], f't{x}[{first} + {int(strides[last])} * i]')

    def gather(self, step: Operator) -> list[str]:
        x, indices = step.inputs
        if indices not in self.constants:
            raise ArtifactError('only constant indices have a form in C')
        self.used.add(indices)
        return self.loop(step.outputs[0], f't{x}[t{indices}[i]]')

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
            size, value = self.size(x), self.at(x)
            lines.append(f'  for (i = 0; i < {size}; ++i) {{ t{result}[{start} + i] = {value}; }}')
            start += size
        return lines


_WRITERS: Mapping[str, Callable[[_Writer, Operator], list[str]]] = {
    'FULLY_CONNECTED': _Writer.dense,
    'QUANTIZE': _Writer.quantize,
    'DEQUANTIZE': _Writer.dequantize,
    'MEAN': _Writer.total,
    'SUM': _Writer.total,
    'SOFTMAX': _Writer.softmax,
    'STRIDED_SLICE': _Writer.strided_slice,
    'GATHER': _Writer.gather,
    'SPLIT': _Writer.split,
    'CONCATENATION': _Writer.concatenation,
}


def _numbers(values: Iterable[float]) -> str:
    return ', '.join(_number(np.float32(value)) for value in values)


def _number(value: Any) -> str:
    if not isinstance(value, np.floating):
        return str(int(value))
    if not np.isfinite(value):
        return '(1.0f / 0.0f)' if value > 0 else '(-1.0f / 0.0f)'
    text = f'{float(value):.9g}'
    return f'{text}f' if '.' in text or 'e' in text else f'{text}.0f'
