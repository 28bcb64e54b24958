"""The operators of a `.tflite` actor as lines of C, between static arrays named after tensors.

8-bit layers add up in 32-bit integers as TensorFlow Lite's do, and round once, in float32.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rl_edge_compress.numpy_graph import ELEMENTWISE
from rl_edge_compress.tflite_file import (
    BOUNDS,
    Operator,
    constants,
    operators,
    read_model,
    type_name,
)
from rl_edge_core.errors import ArtifactError

TYPES = {'float32': 'float', 'int8': 'int8_t', 'bool': 'uint8_t'}
WIDTHS = {'float32': 4, 'int8': 1, 'bool': 1}
_FORMULAS: Mapping[str, str] = {
    **{name: form.c for name, form in ELEMENTWISE.items() if form.c},
    'RESHAPE': '{0}',
    'LEAKY_RELU': '{0} > 0.0f ? {0} : {0} * {alpha}',
    'GELU': '0.5f * {0} * (1.0f + policy_erf({0} * 0.70710678f))',
}
"""What an element of the result is, from those of the inputs."""


class CGraph:
    """The graph of an actor, with its tensors and operators as C."""

    def __init__(self, content: bytes) -> None:
        model = read_model(content)
        graph = model.subgraphs[0]
        self.tensors = graph.tensors
        self.steps = list(operators(model))
        self.constants = constants(model)
        self.used: set[int] = set()
        """Constants that the code written so far reads."""
        self.source, self.result = int(graph.inputs[0]), int(graph.outputs[0])

    # Tensors ------------------------------------------------------------------------------

    def kind(self, index: int) -> str:
        """Return the type of a tensor, a key of `TYPES`; raise ArtifactError for another one."""
        name = type_name(self.tensors[index])
        if name not in TYPES:
            raise ArtifactError(
                f'the file has tensors of type {name}: only recipes in float32 or with 8-bit '
                f'weights and activations, such as float32 and int8, can be written as C'
            )
        return name

    def _shape(self, index: int) -> tuple[int, ...]:
        shape = self.tensors[index].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def size(self, index: int) -> int:
        """Return how many values a tensor has."""
        return int(np.prod(self._shape(index)))

    def _at(self, index: int, place: str = 'i') -> str:
        """Return an element of a tensor in C; a tensor of one element is the same everywhere."""
        if index in self.constants:
            self.used.add(index)
        return f't{index}[{0 if self.size(index) == 1 else place}]'

    def quantization(self, index: int) -> tuple[float, int]:
        """Return scale and zero point of a tensor; raise ArtifactError without one for all."""
        stored = self.tensors[index].quantization
        if stored is None or stored.scale is None or len(stored.scale) != 1:
            raise ArtifactError(
                'the file has a scale per channel or none: write the recipe int8 as C'
            )
        return float(stored.scale[0]), int(stored.zeroPoint[0])

    def weights(self, index: int) -> list[str]:
        """Return the definition of a constant."""
        values = self.constants[index].reshape(-1)
        kind = 'int32_t' if values.dtype == np.int32 else TYPES[self.kind(index)]
        row = 8 if kind == 'float' else 20
        return [
            f'static const {kind} t{index}[{len(values)}] = {{',
            *(
                f'  {", ".join(map(number, values[start : start + row]))},'
                for start in range(0, len(values), row)
            ),
            '};',
            '',
        ]

    # Operators ----------------------------------------------------------------------------

    def step(self, step: Operator) -> list[str]:
        """Return an operator's lines; raise ArtifactError for one without a form in C."""
        if step.name in _FORMULAS:
            alpha = number(np.float32(getattr(step.options, 'alpha', 0.0)))
            inputs = step.inputs[:1] if step.name == 'RESHAPE' else step.inputs
            value = _FORMULAS[step.name].format(*map(self._at, inputs), alpha=alpha)
            lines = self._loop(step.outputs[0], value)
        elif step.name in _WRITERS:
            lines = _WRITERS[step.name](self, step)
        else:
            raise ArtifactError(
                f'operator {step.name} has no form in C; there is one of '
                f'{", ".join(sorted((*_FORMULAS, *_WRITERS)))}: write another recipe'
            )
        result = step.outputs[0]
        if step.fused and self.kind(result) != 'int8':
            lines += self._loop(result, _FORMULAS[step.fused].format(self._at(result)))
        return [f'  /* {step.name} */', *lines]

    def _loop(self, result: int, value: str) -> list[str]:
        return [f'  for (i = 0; i < {self.size(result)}; ++i) {{ t{result}[i] = {value}; }}']

    def _dense(self, step: Operator) -> list[str]:
        x, kernel, *rest = step.inputs
        bias = rest[0] if rest and rest[0] >= 0 else None
        (result,) = step.outputs
        units, inputs = self.size(result), self.size(kernel) // self.size(result)
        self.used.update({kernel} if bias is None else {kernel, bias})
        start = f't{bias}[i]' if bias is not None else '0'
        if self.kind(result) == 'int8':
            kind, total, (x_zero, finish) = 'int8_t', 'int32_t', self._dense_int8(step)
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

    def _dense_int8(self, step: Operator) -> tuple[int, list[str]]:
        """Return the zero point of the inputs, and how a sum becomes an 8-bit result."""
        x, kernel, *_ = step.inputs
        (result,) = step.outputs
        (x_scale, x_zero), (scale, zero) = self.quantization(x), self.quantization(result)
        weight_scale, _ = self.quantization(kernel)
        low, high = -128, 127
        if step.fused == 'RELU':
            low = zero
        elif step.fused in BOUNDS:
            ends = (round(end / scale) + zero for end in BOUNDS[step.fused])
            low, high = (int(np.clip(end, -128, 127)) for end in ends)
        elif step.fused:
            raise ArtifactError('an 8-bit layer with a fused tanh has no form in C')
        factor = number(np.float32(x_scale * weight_scale / scale))
        return x_zero, [
            f'    sum = policy_round((float)sum * {factor}) + ({zero});',
            f'    t{result}[i] = (int8_t)(sum < {low} ? {low} : sum > {high} ? {high} : sum);',
        ]

    def _quantize(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        scale, zero = self.quantization(result)
        if self.kind(x) == 'int8':
            old_scale, old_zero = self.quantization(x)
            real = f'((float)t{x}[i] - ({old_zero}.0f)) * {number(np.float32(old_scale / scale))}'
        else:
            real = f't{x}[i] * {number(np.float32(1.0 / scale))}'
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

    def _dequantize(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        scale, zero = self.quantization(x)
        factor = number(np.float32(scale))
        return self._loop(result, f'(float)((int32_t)t{x}[i] - ({zero})) * {factor}')

    def _total(self, step: Operator) -> list[str]:
        x, _ = step.inputs
        (result,) = step.outputs
        if self.size(result) != 1:
            raise ArtifactError('only a mean or a sum over all values has a form in C')
        size = self.size(x)
        share = f' * {number(np.float32(1.0 / size))}' if step.name == 'MEAN' else ''
        return [
            '  {',
            '    float sum = 0.0f;',
            f'    for (i = 0; i < {size}; ++i) {{ sum += t{x}[i]; }}',
            f'    t{result}[0] = sum{share};',
            '  }',
        ]

    def _softmax(self, step: Operator) -> list[str]:
        (x,), (result,) = step.inputs, step.outputs
        size, beta = self.size(x), number(np.float32(step.options.beta))
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

    def _strided_slice(self, step: Operator) -> list[str]:
        x, *parts = step.inputs
        begin, _, strides = (self.constants[index].reshape(-1) for index in parts[:3])
        last = len(begin) - 1
        first = 0 if step.options.beginMask >> last & 1 else int(begin[last])
        first += self._shape(x)[-1] if first < 0 else 0
        return self._loop(step.outputs[0], f't{x}[{first} + {int(strides[last])} * i]')

    def _gather(self, step: Operator) -> list[str]:
        x, indices = step.inputs
        if indices not in self.constants:
            raise ArtifactError('only constant indices have a form in C')
        self.used.add(indices)
        return self._loop(step.outputs[0], f't{x}[t{indices}[i]]')

    def _split(self, step: Operator) -> list[str]:
        x = step.inputs[1]
        lines, start = [], 0
        for result in step.outputs:
            lines += self._loop(result, f't{x}[{start} + i]')
            start += self.size(result)
        return lines

    def _concatenation(self, step: Operator) -> list[str]:
        (result,) = step.outputs
        lines, start = [], 0
        for x in step.inputs:
            size, value = self.size(x), self._at(x)
            lines.append(f'  for (i = 0; i < {size}; ++i) {{ t{result}[{start} + i] = {value}; }}')
            start += size
        return lines


_WRITERS: Mapping[str, Callable[[CGraph, Operator], list[str]]] = {
    'FULLY_CONNECTED': CGraph._dense,
    'QUANTIZE': CGraph._quantize,
    'DEQUANTIZE': CGraph._dequantize,
    'MEAN': CGraph._total,
    'SUM': CGraph._total,
    'SOFTMAX': CGraph._softmax,
    'STRIDED_SLICE': CGraph._strided_slice,
    'GATHER': CGraph._gather,
    'SPLIT': CGraph._split,
    'CONCATENATION': CGraph._concatenation,
}


def number(value: Any) -> str:
    """Return a value as a literal of C."""
    if not isinstance(value, np.floating):
        return str(int(value))
    if not np.isfinite(value):
        return '(1.0f / 0.0f)' if value > 0 else '(-1.0f / 0.0f)'
    text = f'{float(value):.9g}'
    return f'{text}f' if '.' in text or 'e' in text else f'{text}.0f'
