"""What `make audit` says of a package's licence, by what its metadata hold."""

from importlib.machinery import SourceFileLoader
from importlib.metadata import distributions
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'audit'


@pytest.fixture(scope='module')
def audit() -> ModuleType:
    spec = spec_from_loader('audit', SourceFileLoader('audit', str(TOOL)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('metadata', 'licence'),
    [
        ('License-Expression: Apache-2.0\nLicense: see LICENSE', 'Apache-2.0'),
        ('Classifier: License :: OSI Approved :: MIT License', 'MIT License'),
        ('License: BSD', 'BSD'),
        ('License: %LICENSE', 'not stated'),
        ('Summary: nothing said', 'not stated'),
        ('License-File: COPYING', 'GNU General Public License'),
    ],
)
def test_licence_is_what_the_metadata_state(audit, tmp_path, metadata, licence):
    folder = tmp_path / 'thing-1.0.dist-info'
    (folder / 'licenses').mkdir(parents=True)
    (folder / 'licenses' / 'COPYING').write_text('GNU General Public License\nVersion 3\n')
    (folder / 'METADATA').write_text(f'Name: thing\nVersion: 1.0\n{metadata}\n')
    (distribution,) = distributions(path=[str(tmp_path)])

    assert audit.licence_of(distribution, tmp_path) == licence
