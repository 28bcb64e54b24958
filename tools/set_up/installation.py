"""The virtual environment and what is installed into it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from places import Places, run, say, step
from ros_wheels import point_cmake_at_this_machine


def ensure_installed(places: Places) -> str:
    """Make the environment hold exactly what its lock file says; return the digest of that.

    The stamp is written last. So an environment without one was interrupted at an unknown place,
    and like one for another lock file, Python or folder it is made anew, its builds included.
    (`uv pip sync` cannot update one in place: it takes the metadata of ROS packages that lies in
    the wheels for packages that nothing asked for, and removes them.)
    """
    stamp = places.state / 'installed'
    digest = installation_digest(places)
    wanted = f'{digest}\n{sys.version_info[0]}.{sys.version_info[1]}\n{places.root}\n'
    found = stamp.read_text() if stamp.exists() else None
    if found != wanted or not places.python.exists():
        if places.venv.exists():
            _remove(places, interrupted=found is None)
        _create(places)
        places.state.mkdir()
        stamp.write_text(wanted)
    return digest


def installation_digest(places: Places) -> str:
    """Digest what decides the content of the environment."""
    digest = hashlib.sha256()
    for source in (places.lock_file, Path(__file__).with_name('ros_wheels.py')):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def ensure_extra(places: Places, extra: str) -> None:
    """Install an extra's packages, which lie beside those of the lock file and replace none."""
    stamp = places.state / f'extra-{extra}'
    folder = places.requirements / 'extras'
    lock = (folder / f'{extra}.lock').read_text()
    if stamp.exists() and stamp.read_text() == lock:
        return
    if '==' in lock:
        with step(f'installing the extra {extra}'):
            _uv_install(places, '--no-deps', '-r', folder / f'{extra}.lock')
    if '-r torch.txt' in (folder / f'{extra}.in').read_text():
        say('installing PyTorch; where pip is offered no CPU build it takes the one with CUDA,')
        say('about 3 GB (CONTRIBUTING.md says how to offer one)')
        with step('installing PyTorch'):
            _pip(places, '-r', folder / 'torch.txt')
    stamp.write_text(lock)


def _remove(places: Places, *, interrupted: bool) -> None:
    reason = 'an earlier set-up was interrupted' if interrupted else 'it is for other contents'
    with step(f'removing {places.venv.name}: {reason}'):
        (places.state / 'installed').unlink(missing_ok=True)
        shutil.rmtree(places.venv)


def _create(places: Places) -> None:
    ros = f'{places.ros_wheels} from wheels'
    if places.sourced:
        ros = f'{os.environ.get("ROS_DISTRO")} as sourced'
    say(f'setting up {places.venv.name}: Python {sys.version.split()[0]}, ROS 2 {ros}')
    with step('creating the virtual environment'):
        flags = ['--system-site-packages'] if places.sourced else []
        run([sys.executable, '-m', 'venv', *flags, places.venv], env=os.environ)
        bootstrap = places.requirements / 'bootstrap.lock'
        # the sourced ROS 2 or the system may have a uv that is not the pinned one
        _pip(places, '--ignore-installed', '--require-hashes', '-r', bootstrap)
    with step(f'installing {places.lock_file.name} (downloads 0.8 GB where nothing is cached)'):
        _uv_install(places, '-r', places.lock_file)
        if not places.sourced:
            point_cmake_at_this_machine(places)


def _pip(places: Places, *arguments: str | Path) -> None:
    env = {**os.environ, 'PIP_USER': '0', 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
    run([places.python, '-m', 'pip', 'install', '--quiet', *arguments], env=env)


def _uv_install(places: Places, *arguments: str | Path) -> None:
    # Compiled once here, not at the first import: never where PYTHONDONTWRITEBYTECODE is set.
    command: list[str | Path] = [
        places.venv / 'bin' / 'uv',
        'pip',
        'install',
        '--quiet',
        '--no-config',
        '--compile-bytecode',
    ]
    command += ['--python', places.python, '--require-hashes', *arguments]
    run(command, env={**os.environ, **_package_index(places)})


def _package_index(places: Places) -> dict[str, str]:
    """Hand pip's package index over to uv, which does not read pip's configuration."""
    if {'UV_DEFAULT_INDEX', 'UV_INDEX_URL'} & os.environ.keys():
        return {}
    listed = run([places.python, '-m', 'pip', 'config', 'list'], env=os.environ)
    found = re.search(r"""^(?:global|install|:env:)\.index-url=['"]?([^'"\n]+)""", listed, re.M)
    return {'UV_DEFAULT_INDEX': found[1]} if found else {}
