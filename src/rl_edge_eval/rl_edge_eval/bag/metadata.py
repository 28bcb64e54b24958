"""metadata.yaml: read for what it promises, never relied on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rl_edge_eval.bag.notes import Notes

METADATA_NAME = 'metadata.yaml'


@dataclass(frozen=True)
class BagMetadata:
    """What metadata.yaml says of a bag."""

    files: tuple[str, ...] = ()
    message_counts: dict[str, int] = field(default_factory=dict)
    """Messages by topic."""


def read_metadata(folder: Path, notes: Notes) -> BagMetadata | None:
    """Return what metadata.yaml says, or None (with a note) when there is none to be read."""
    path = folder / METADATA_NAME
    if not path.exists():
        notes.add(f'{METADATA_NAME} is missing: the recorder was killed; all files are read')
        return None
    try:
        content = yaml.safe_load(path.read_text())
        return _parse(content['rosbag2_bagfile_information'])
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f'not in the form of rosbag2: {type(error).__name__} {error}'
    notes.add(f'{METADATA_NAME} cannot be read ({reason}): all files are read')
    return None


def _parse(information: Any) -> BagMetadata:
    counts: dict[str, int] = {}
    for topic in information.get('topics_with_message_count') or []:
        name = str(topic['topic_metadata']['name'])
        counts[name] = counts.get(name, 0) + int(topic['message_count'])
    files = tuple(Path(name).name for name in information.get('relative_file_paths') or [])
    return BagMetadata(files, counts)
