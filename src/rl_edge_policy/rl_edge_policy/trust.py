"""Which models may be loaded: those on a list of hashes, or signed by a key.

A signature is made for each model file, over its manifest entry (its hash among it) and what it
must do: the environment with the limits of its actions, the network, the golden observation. So
it still holds when some of an artifact's files are packed and sent.
"""

import base64
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_edge_core.artifact import Manifest, manifest_to_mapping
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_core.extras import require_extra
from rl_edge_core.model_files import ModelFile

_SIGNED = ('name', 'environment', 'algorithm', 'network', 'golden_observation', 'format_version')
MAKE_KEY = 'openssl genpkey -algorithm ed25519 -out key.pem'
MAKE_PUBLIC = 'openssl pkey -in key.pem -pubout -out key.pub'


@dataclass(frozen=True)
class Trust:
    """What a model must be to be loaded; by default any is."""

    hashes: frozenset[str] = frozenset()
    """SHA-256 of the model files that may be loaded; empty for any."""
    key: Any = None
    """Ed25519 public key that must have signed them; None for none."""

    def check(self, manifest: Manifest, entry: ModelFile) -> None:
        """Raise ArtifactError unless the file of ``entry`` may be loaded."""
        if self.hashes and entry.sha256.lower() not in self.hashes:
            raise ArtifactError(
                f'{entry.file} of {manifest.name} hashes to {entry.sha256}, which is not among '
                f'the {len(self.hashes)} of trusted_models: add it, or load one of those'
            )
        if self.key is None:
            return
        if not entry.signature:
            raise ArtifactError(
                f'{entry.file} of {manifest.name} is not signed, and trusted_key is set: sign it '
                f'by rl_edge sign KEY FOLDER'
            )
        from cryptography.exceptions import InvalidSignature

        try:
            signature = base64.b64decode(entry.signature, validate=True)
            self.key.verify(signature, signed_content(manifest, entry))
        except (ValueError, InvalidSignature):
            raise ArtifactError(
                f'{entry.file} of {manifest.name} has a signature that is not by trusted_key, or '
                f'its manifest was changed after it was signed: sign it again'
            ) from None


ANY_MODEL = Trust()


def read_trust(hashes: str, key_file: str) -> Trust:
    """Return what the parameters ``trusted_models`` and ``trusted_key`` ask for.

    Raise ConfigurationError for what is no SHA-256 and no key, MissingExtraError for a key without
    the package cryptography.
    """
    listed = hashes.replace(',', ' ').lower().split()
    for value in listed:
        if len(value) != 64 or set(value) - set('0123456789abcdef'):
            raise ConfigurationError(
                f'trusted_models holds {value!r}, must be SHA-256 in 64 hexadecimal digits'
            )
    return Trust(frozenset(listed), read_key(Path(key_file), public=True) if key_file else None)


def signed_content(manifest: Manifest, entry: ModelFile) -> bytes:
    """Return the bytes that a signature of a model file is made over."""
    whole = manifest_to_mapping(manifest)
    content = {name: whole[name] for name in _SIGNED}
    content['file'] = dataclasses.asdict(dataclasses.replace(entry, signature=''))
    return b'rl_edge model\n' + json.dumps(content, sort_keys=True, default=dict).encode()


def read_key(path: Path, *, public: bool) -> Any:
    """Return the Ed25519 key, public or private, that a file in PEM holds.

    Raise ConfigurationError for anything else, MissingExtraError without the package cryptography.
    """
    require_extra('security', 'cryptography')
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    kind, command = ('public', MAKE_PUBLIC) if public else ('private', MAKE_KEY)
    try:
        content = path.read_bytes()
        key: Any
        if public:
            key = serialization.load_pem_public_key(content)
        else:
            key = serialization.load_pem_private_key(content, password=None)
    except OSError as error:
        raise ConfigurationError(f'the key {path} cannot be read: {error.strerror}') from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if not public and b'PUBLIC KEY' in content:
            raise ConfigurationError(f'{path} is a public key: give the private one') from error
        raise ConfigurationError(
            f'{path} is not a {kind} key in PEM without a password ({error}): {command}'
        ) from error
    wanted = ed25519.Ed25519PublicKey if public else ed25519.Ed25519PrivateKey
    if not isinstance(key, wanted):
        raise ConfigurationError(f'{path} is a {kind} key, but not of Ed25519: {command}')
    return key
