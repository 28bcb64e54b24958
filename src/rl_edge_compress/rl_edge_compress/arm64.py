"""Run shipped `.tflite` files on an emulated arm64 machine and compare them with this one.

The machine is a folder: Debian's Python with both runtimes' aarch64 wheels. Debian's packages are
unpacked by debootstrap, which needs root, and programs run in qemu's user mode with that folder as
their file system. They need no set-up beyond being unpacked, so debootstrap's second stage, which
would have to run inside, is left out.
"""

import argparse
import dataclasses
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl_edge_compress.closed_loop import visited_states
from rl_edge_compress.report_table import table
from rl_edge_compress.runtimes import MODULES, Python, Trial, try_runtimes
from rl_edge_core.artifact import Manifest, ModelFile, checked_file, load_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError, RlEdgeError
from rl_edge_core.files import ensure_folder
from rl_edge_core.results import write_json

SEED = 45_000
OBSERVATIONS = 200
"""Of an episode that the policy drives, evenly spaced; the golden one comes on top."""
MACHINE = 'machine'
"""Sub-folder of the emulated machine; may be deleted."""
SUITE = 'bookworm'
"""Debian 12: its Python, 3.11, is the last one that tflite-runtime has a wheel for."""
PYTHON_VERSION = '3.11'
OLDEST_GLIBC, NEWEST_GLIBC = 17, 36
"""Of manylinux wheels that run there, as in glibc 2.36."""
TOOLS = {
    'debootstrap': 'debootstrap',
    'dpkg-deb': 'dpkg',
    'qemu-aarch64-static': 'qemu-user-static',
}
"""Commands with their Debian packages."""
CORTEX_A72 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
"""/proc/cpuinfo of a Raspberry Pi 4. LiteRT 2.3 crashes on the host's, which is no Arm's."""
Say = Callable[[str], None]

TryThere = Callable[[Sequence[Path], np.ndarray], Mapping[str, Mapping[str, Trial]]]

SAME = 'within tolerance'
REFUSED = 'refused, as on this machine'
FAILED = 'FAILED'


@dataclass(frozen=True)
class Comparison:
    """What one file in one runtime answers on arm64, beside what it answers here."""

    model: str
    recipe: str
    runtime: str
    verdict: str
    """`SAME`, `REFUSED`, or `FAILED` and why."""
    golden_error: float | None = None
    """Largest difference of the golden action from the manifest's; None for no answer."""
    tolerance: float | None = None
    """Of the golden action, as the manifest has it."""
    largest: float | None = None
    """Largest difference from the same runtime here, over visited states."""
    rmse: float | None = None
    equal_share: float | None = None
    """Share of the states for which all actions are equal bit for bit."""

    @property
    def is_good(self) -> bool:
        """Return whether arm64 does what this machine does."""
        return not self.verdict.startswith(FAILED)


def run(options: argparse.Namespace) -> int:
    """Compare the models of a command line; print a table; return 1 when one fails."""
    out = ensure_folder(options.out)
    python = arm64_machine(out / MACHINE, say=print)
    rows: list[Comparison] = []
    for model in options.models:
        rows += compare_model(model, lambda files, seen: try_runtimes(files, seen, python=python))
    write_json(out / 'arm64.json', rows)
    print(markdown(rows))
    print(f'wrote {out / "arm64.json"}')
    return 0 if all(row.is_good for row in rows) else 1


def compare_model(model: Path, try_there: TryThere) -> list[Comparison]:
    """Compare every `.tflite` file of an artifact folder, in every runtime.

    ``try_there(files, observations)`` is `try_runtimes` of the other machine. Raise ArtifactError
    for a folder without such files.
    """
    manifest = load_manifest(model)
    entries = [entry for entry in manifest.files if entry.file.endswith('.tflite')]
    if not entries:
        raise ArtifactError(f'{model} has no .tflite file: compress it first')
    files = [checked_file(model, entry) for entry in entries]
    observations = _observations(model, manifest)
    here, there = try_runtimes(files, observations), try_there(files, observations)
    return [
        compare(manifest.name, entry, runtime, here[runtime][entry.file], trial)
        for entry in entries
        for runtime, trial in ((name, there[name][entry.file]) for name in MODULES)
    ]


def _observations(model: Path, manifest: Manifest) -> np.ndarray:
    """Return the golden observation and, after it, visited ones."""
    seen, _ = visited_states(model, manifest.compressed_recipe(), [SEED])
    chosen = np.linspace(0, len(seen) - 1, min(OBSERVATIONS, len(seen))).astype(int)
    return np.vstack([np.asarray(manifest.golden_observation, np.float32)[None], seen[chosen]])


def compare(model: str, entry: ModelFile, runtime: str, here: Trial, there: Trial) -> Comparison:
    """Judge one file in one runtime by its golden pair; the first action is the golden one."""
    row = Comparison(model, entry.recipe, runtime, verdict='')
    if there.actions is None:
        is_expected = runtime not in entry.runtimes
        verdict = REFUSED if is_expected else f'{FAILED}: {there.reason}'
        return dataclasses.replace(row, verdict=verdict)
    golden = float(np.abs(there.actions[0] - np.asarray(entry.golden_action)).max())
    tolerance, verdict = entry.golden_tolerance.get(runtime), SAME
    if tolerance is None:
        verdict = f'{FAILED}: answers, where the manifest says that this runtime cannot'
    elif not golden <= tolerance:
        verdict = f'{FAILED}: the golden action is {golden:.2g} off, tolerated {tolerance:g}'
    row = dataclasses.replace(row, verdict=verdict, golden_error=golden, tolerance=tolerance)
    if here.actions is None:
        return row
    difference = np.abs(there.actions[1:] - here.actions[1:])
    return dataclasses.replace(
        row,
        largest=float(difference.max()),
        rmse=float(np.sqrt(np.mean(np.square(difference)))),
        equal_share=float(np.mean((difference == 0).all(axis=1))),
    )


def markdown(rows: Sequence[Comparison]) -> str:
    """Return the comparison as a Markdown table."""
    header = ('model', 'recipe', 'runtime', 'golden error', 'tolerance', 'largest difference')
    cells = []
    for row in rows:
        figures = (row.golden_error, row.tolerance, row.largest, row.rmse)
        shown = ['–' if value is None else f'{value:.2g}' for value in figures]
        equal = '–' if row.equal_share is None else f'{100 * row.equal_share:.0f} %'
        cells.append([row.model, row.recipe, row.runtime, *shown, equal, row.verdict])
    return table([*header, 'RMS difference', 'equal bit for bit', 'verdict'], cells)


def missing_tools() -> str:
    """Return why such a machine can't be made here; empty when it can."""
    if os.geteuid() != 0:
        return 'debootstrap needs root'
    packages = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    return f'missing: apt-get install {" ".join(packages)}' if packages else ''


def arm64_machine(folder: Path, *, say: Say) -> Python:
    """Make the machine in ``folder``, or take the one that is there; return its Python.

    Takes about 400 MB and downloads Debian's packages and three wheels. Raise ConfigurationError
    when a tool or root is missing, RlEdgeError when one of the tools fails.
    """
    if reason := missing_tools():
        raise ConfigurationError(f'no arm64 machine can be made here: {reason}')
    ensure_folder(folder)
    debian, wheels = folder / 'debian', folder / 'wheels'
    _once(debian, _unpack_debian, say=say)
    _once(wheels, _install_wheels, say=say)
    return Python(
        command=(
            'qemu-aarch64-static',
            *('-cpu', 'cortex-a72', '-L', str(debian.resolve())),
            str(debian.resolve() / 'usr' / 'bin' / f'python{PYTHON_VERSION}'),
        ),
        environment={'PYTHONPATH': os.pathsep.join([str(wheels.resolve()), *_our_packages()])},
    )


def _once(folder: Path, make: Callable[[Path, Say], None], *, say: Say) -> None:
    """Make a folder that appears whole or not at all, unless it is there already."""
    if folder.is_dir():
        return
    unfinished = folder.with_name(f'.making-{folder.name}')
    shutil.rmtree(unfinished, ignore_errors=True)
    make(unfinished, say)
    unfinished.rename(folder)


def _unpack_debian(folder: Path, say: Say) -> None:
    say(f'unpacking Debian {SUITE} for arm64')
    options = ['--foreign', '--arch=arm64', '--variant=minbase', '--include=python3']
    _run(['debootstrap', *options, SUITE, str(folder)])
    for package in sorted((folder / 'var' / 'cache' / 'apt' / 'archives').glob('*.deb')):
        _run(['dpkg-deb', '--extract', str(package), str(folder)])
        package.unlink()
    (folder / 'proc' / 'cpuinfo').write_text(CORTEX_A72)


def wheel_requirements() -> list[str]:
    """Return what is installed there: LiteRT in this environment's version, tflite-runtime."""
    litert = importlib.metadata.version('ai-edge-litert')
    return [f'ai-edge-litert=={litert}', 'tflite-runtime==2.14.0', 'numpy<2']


def _install_wheels(folder: Path, say: Say) -> None:
    wanted = wheel_requirements()
    say(f'downloading {", ".join(wanted)} for aarch64')
    platforms = [
        f'--platform=manylinux_2_{minor}_aarch64'
        for minor in range(OLDEST_GLIBC, NEWEST_GLIBC + 1)
    ]
    target = ['--implementation=cp', f'--python-version={PYTHON_VERSION}', f'--target={folder}']
    # Without what they depend on: loading and running a file takes NumPy alone.
    options = ['--quiet', '--no-deps', '--only-binary=:all:', *platforms, *target]
    _run([sys.executable, '-m', 'pip', 'install', *options, *wanted])


def _our_packages() -> list[str]:
    """Return the folders of the packages that `runtimes` needs, as imported here."""
    import rl_edge_compress
    import rl_edge_core

    return [str(Path(package.__path__[0]).parent) for package in (rl_edge_compress, rl_edge_core)]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise RlEdgeError(
            f'{command[0]} ended with {done.returncode}: {" / ".join(lines[-3:])}; are the '
            f'registries of Debian and PyPI reachable?'
        )
