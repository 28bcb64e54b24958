"""An emulated arm64 machine in a folder: Debian's Python with both runtimes' aarch64 wheels.

Debian's packages are unpacked by debootstrap, which needs root, and programs run in qemu's
user mode with that folder as their file system. They need no set-up beyond being unpacked, so
debootstrap's second stage, which would have to run inside, is left out.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rl_edge_compress.runtimes import Python
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import ensure_folder

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
