"""The command that signs an artifact's model files, for robots that load signed ones alone."""

import base64
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rl_edge_core.argument_parser import ArgumentParser
from rl_edge_core.artifact import Manifest, load_manifest, write_manifest
from rl_edge_core.model_files import named_model
from rl_edge_policy.trust import MAKE_KEY, MAKE_PUBLIC, read_key, signed_content


def main(words: Sequence[str], prog: str) -> int:
    """Sign the artifact of a command line; return 0."""
    parser = ArgumentParser(
        prog=f'{prog} sign',
        description=f'Sign the model files of an artifact. Make a key: {MAKE_KEY}; what the '
        f'robot needs of it: {MAKE_PUBLIC}',
    )
    parser.add_argument('key', type=Path, help='private Ed25519 key in PEM')
    parser.add_argument('folder', type=named_model, help='artifact folder')
    options = parser.parse_args(words)
    manifest = sign(options.folder, options.key)
    print(f'signed {", ".join(entry.file for entry in manifest.files)} of {options.folder}')
    return 0


def sign(folder: Path, key_file: Path) -> Manifest:
    """Sign every model file of the artifact ``folder`` in its manifest, and return that.

    Raise ConfigurationError for what is no private Ed25519 key, ArtifactError for no artifact.
    """
    manifest = load_manifest(folder)
    key = read_key(key_file, public=False)
    files = tuple(
        dataclasses.replace(
            entry, signature=base64.b64encode(key.sign(signed_content(manifest, entry))).decode()
        )
        for entry in manifest.files
    )
    signed = dataclasses.replace(manifest, files=files)
    write_manifest(signed, folder)
    return signed
