"""The packages of src/: which of them changed, and building those."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from environment import build_environment
from places import Places, StepError, run, step

EDGE_PACKAGES = (
    *('rl_edge_interfaces', 'rl_edge_core', 'rl_edge_policy', 'rl_edge_robot', 'rl_edge_bringup'),
)
"""What the subset 'edge' consists of."""
CMAKE_ARGUMENTS = (
    '-DBUILD_TESTING=OFF',
    '-DCMAKE_BUILD_TYPE=Release',
    # Libraries name no folder of this checkout: tools/edge takes them along to other places.
    '-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON',
)
_BUILD_FILES = ('package.xml', 'setup.py', 'setup.cfg')
_LIVE = ('.launch.py', '__init__.py', 'setup.py')


def find_packages(places: Places) -> dict[str, Path]:
    """Return the folders of the packages to build, by name."""
    folders = {file.parent.name: file.parent for file in places.root.glob('src/*/package.xml')}
    return {
        name: folder
        for name, folder in sorted(folders.items())
        if (folder / 'setup.py').exists() or (folder / 'CMakeLists.txt').exists()
        if places.subset == 'full' or name in EDGE_PACKAGES
    }


def package_digest(folder: Path, installation: str) -> str:
    """Digest what a built package depends on.

    Python modules and data files are linked to, so that their content is live: there the list of
    names is what matters, and the content only of files that steer the build.
    """
    compiled = (folder / 'CMakeLists.txt').exists()
    digest = hashlib.sha256(installation.encode())
    if compiled:
        digest.update(' '.join(CMAKE_ARGUMENTS).encode())
    for file in sorted(folder.rglob('*')):
        if '__pycache__' in file.parts or not file.is_file():
            continue
        if file.suffix == '.py' and not compiled and not file.name.endswith(_LIVE):
            continue
        digest.update(f'\0{file.relative_to(folder)}\0'.encode())
        if compiled or file.name in _BUILD_FILES:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def build_changed(places: Places, installation: str) -> list[str]:
    """Build the packages that changed since they were built; return the names of all.

    A package's stamp is removed before its build begins and written when it succeeded, so that an
    interrupted build is taken up again, from nothing.

    Raises:
        StepError: when a package does not build; those that did keep their stamps.
    """
    packages = find_packages(places)
    stamps = places.state / 'packages'
    stamps.mkdir(parents=True, exist_ok=True)
    _remove_vanished(places, packages)
    digests = {name: package_digest(folder, installation) for name, folder in packages.items()}
    changed = [
        name
        for name, digest in digests.items()
        if not (stamps / name).exists() or (stamps / name).read_text() != digest
    ]
    if not changed:
        return list(packages)
    for name in changed:
        if not (stamps / name).exists():
            _remove_products(places, name)
        (stamps / name).unlink(missing_ok=True)
        (places.workspace / 'build' / name / 'colcon_build.rc').unlink(missing_ok=True)
        _remove_dangling_links(places, name)
    try:
        with step(f'building {", ".join(changed)}'):
            _colcon_build(places, [packages[name] for name in changed])
    finally:
        for name in changed:
            if _succeeded(places, name):
                (stamps / name).write_text(digests[name])
    return list(packages)


def _colcon_build(places: Places, folders: list[Path]) -> None:
    places.workspace.mkdir(exist_ok=True)
    command: list[str | Path] = [places.python, '-m', 'colcon']
    command += ['--log-base', places.workspace / 'log', 'build', '--symlink-install']
    command += ['--build-base', places.workspace / 'build']
    command += ['--install-base', places.workspace / 'install']
    command += ['--continue-on-error', '--base-paths', *folders]
    command += ['--allow-overriding', *(folder.name for folder in folders)]
    command += ['--cmake-args', *CMAKE_ARGUMENTS, f'-DPython3_EXECUTABLE={places.python}']
    try:
        run(command, env=build_environment(places), cwd=places.workspace)
    except StepError as failure:
        log = (places.workspace / 'log' / 'latest_build').relative_to(places.root)
        raise StepError(f'{failure}\nThe whole output of each package is in {log}/.') from None


def _succeeded(places: Places, name: str) -> bool:
    code = places.workspace / 'build' / name / 'colcon_build.rc'
    return code.exists() and code.read_text().strip() == '0'


def _remove_vanished(places: Places, packages: dict[str, Path]) -> None:
    for stamp in (places.state / 'packages').iterdir():
        if stamp.name not in packages:
            stamp.unlink()
            _remove_products(places, stamp.name)


def _remove_products(places: Places, name: str) -> None:
    for kind in ('build', 'install'):
        shutil.rmtree(places.workspace / kind / name, ignore_errors=True)


def _remove_dangling_links(places: Places, name: str) -> None:
    """Remove links to data files that are gone; setup.py would find them in the build folder."""
    for kind in ('build', 'install'):
        for file in (places.workspace / kind / name).rglob('*'):
            if file.is_symlink() and not file.exists():
                file.unlink()
