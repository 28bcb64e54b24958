"""Artifacts to load, made once a session in a process of their own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKING_LIMIT_SEC = 400
"""TensorFlow takes 15 s to make the artifacts on an idle machine, minutes on a busy one."""


def pytest_collection_modifyitems(items):
    """Give tests of this folder the time to make the artifacts: the first one does."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(MAKING_LIMIT_SEC))


@pytest.fixture(scope='session')
def artifacts(tmp_path_factory) -> Path:
    """Return a folder with the artifacts plane, mirrored, slower_plane, squashed and study."""
    root = tmp_path_factory.mktemp('artifacts')
    program = Path(__file__).with_name('make_artifacts.py')
    made = subprocess.run(
        [sys.executable, str(program), str(root)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return root


@pytest.fixture
def plane(artifacts, tmp_path) -> Path:
    """Return a copy of the artifact plane that the test may damage."""
    return Path(shutil.copytree(artifacts / 'plane', tmp_path / 'plane'))


@pytest.fixture
def write_keys(tmp_path):
    """Return what writes an Ed25519 key pair, or ``key``'s: name -> (private, public) paths."""
    pytest.importorskip('cryptography', reason='signatures need the extra security')
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ed25519

    def write(name, key=None):
        key = key or ed25519.Ed25519PrivateKey.generate()
        private, public = tmp_path / f'{name}.pem', tmp_path / f'{name}.pub'
        pkcs8, spki = forms.PrivateFormat.PKCS8, forms.PublicFormat.SubjectPublicKeyInfo
        private.write_bytes(key.private_bytes(forms.Encoding.PEM, pkcs8, forms.NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(forms.Encoding.PEM, spki))
        return private, public

    return write
