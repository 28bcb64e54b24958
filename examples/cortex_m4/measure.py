"""Run an 8-bit actor as C on an emulated Cortex-M4: flash, RAM and instructions per action.

    tools/env python examples/cortex_m4/measure.py models/ant_v5/sac student92_int8

Needs arm-none-eabi-gcc and qemu-system-arm (apt-get install gcc-arm-none-eabi qemu-system-arm).
The emulator counts one nanosecond per instruction (``-icount shift=0``); the processor's timer,
which ticks every 40 of them, is read before and after each action. Prints a line of Markdown.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from rl_edge_compress.export_formats import export_c, observations_for
from rl_edge_policy.load import load_policy

HERE = Path(__file__).parent
PROCESSOR = ('-mcpu=cortex-m4', '-mthumb', '-mfloat-abi=hard', '-mfpu=fpv4-sp-d16')
INSTRUCTIONS_PER_TICK = 40
"""The timer of QEMU's mps2-an386 runs at 25 MHz."""
ACTIONS = 100


def run_on_cortex_m4(folder: Path, observations: np.ndarray) -> tuple[np.ndarray, float]:
    """Compile ``folder/policy.c`` and run it there on observations (count, n).

    Return the actions (count, m) and the instructions of one, on average.
    """
    numbers = ', '.join(f'{float(value):#.9g}f' for value in observations.reshape(-1))
    (folder / 'data.c').write_text(
        f'const float observations[] = {{{numbers}}};\nconst int count = {len(observations)};\n'
    )
    image = folder / 'policy.elf'
    _run(
        *('arm-none-eabi-gcc', *PROCESSOR, '-std=gnu99', '-O2', '-ffreestanding', '-nostdlib'),
        *('-I', folder, '-T', HERE / 'link.ld', '-o', image),
        *(HERE / 'run.c', folder / 'policy.c', folder / 'data.c'),
    )
    printed = _run(
        *('qemu-system-arm', '-M', 'mps2-an386', '-nographic', '-monitor', 'none'),
        *('-serial', 'none', '-semihosting-config', 'enable=on,target=native'),
        *('-icount', 'shift=0,sleep=off', '-kernel', image),
    )
    *words, ticks = (int(word, 16) for word in printed.split())
    actions = np.array(words, np.uint32).view(np.float32).reshape(len(observations), -1)
    return actions, ticks * INSTRUCTIONS_PER_TICK / len(observations)


def sizes(folder: Path) -> tuple[int, int]:
    """Return the bytes that ``folder/policy.c`` takes of flash and of RAM, without a stack."""
    _run(
        *('arm-none-eabi-gcc', *PROCESSOR, '-std=c99', '-O2', '-c', folder / 'policy.c'),
        *('-o', folder / 'policy.o'),
    )
    text, data, bss = _run('arm-none-eabi-size', folder / 'policy.o').splitlines()[1].split()[:3]
    return int(text) + int(data), int(data) + int(bss)


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f'{command[0]} ended with {done.returncode}: {done.stderr}')
    return done.stdout + done.stderr


def main() -> None:
    """Measure the recipe of a command line and print its line."""
    model, recipe = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory(prefix='rl_edge-') as temporary:
        folder = Path(temporary)
        export_c(model, folder / 'policy.c', recipe=recipe)
        policy = load_policy(model, recipe=recipe)
        seen = observations_for(policy)[0][:ACTIONS]
        actions, instructions = run_on_cortex_m4(folder, seen)
        flash, ram = sizes(folder)
    difference = np.abs(actions - [policy.act(observation) for observation in seen]).max()
    print('| recipe | flash, bytes | RAM, bytes | instructions per action | from LiteRT |')
    print(f'| {recipe} | {flash:,} | {ram:,} | {instructions:,.0f} | {difference:.2g} |')


if __name__ == '__main__':
    main()
