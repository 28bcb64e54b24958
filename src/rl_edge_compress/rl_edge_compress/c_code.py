"""Write an actor as C99: one function over constant weights, for computers too small for Linux.

The code is generated from the operators of a `.tflite` file, so that the C actor is the file that
was measured. It needs no library and no heap; what it computes in lies in one static array whose
parts are used again.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from rl_edge_compress.c_operators import TYPES, WIDTHS, CGraph, number
from rl_edge_core.environment_spec import EnvironmentSpec

_ALIGNMENT = 4
_HERE = Path(__file__).parent


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
    graph = CGraph(content)
    places, memory = _places(graph)
    body = [line for step in graph.steps for line in graph.step(step)]
    pointers = []
    for index, place in places.items():
        kind = TYPES[graph.kind(index)]
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
                line for index in sorted(graph.used) for line in graph.weights(index)
            ),
            safe=_listed_numbers(spec.safe_action),
            low=_listed_numbers(spec.action_low),
            high=_listed_numbers(spec.action_high),
            words=max(1, memory // 4),
            source=graph.source,
            pointers='\n'.join(pointers),
            body='\n'.join(body),
            result=graph.result,
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
        weights_bytes=sum(graph.constants[index].nbytes for index in graph.used),
        memory_bytes=memory,
    )


def _places(graph: CGraph) -> tuple[dict[int, int], int]:
    """Return where each computed tensor lies in the memory, and how large that is."""
    born: dict[int, int] = {}
    last: dict[int, int] = {}
    for moment, step in enumerate(graph.steps):
        for index in step.outputs:
            born[index] = moment
        for index in (*step.inputs, *step.outputs):
            last[index] = moment
    last[graph.result] = len(graph.steps)
    places: dict[int, int] = {}
    taken: list[tuple[int, int, int]] = []  # place, end, index
    for index in born:
        size = -(-graph.size(index) * WIDTHS[graph.kind(index)] // _ALIGNMENT) * _ALIGNMENT
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


def _listed_numbers(values: Iterable[float]) -> str:
    return ', '.join(number(np.float32(value)) for value in values)


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
