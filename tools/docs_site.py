"""MkDocs hook: put what lies outside docs/ on the site, and link to it as the repository does.

README, CONTRIBUTING, CHANGELOG and the model cards become pages; the API pages are made from the
packages' docstrings. Links between files of the repository lead to their pages; where a file has
no page, the words stay without a link.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r'(!?)\[([^\]]*)\]\(([^)\s]+)\)')
API = 'api'


@event_priority(100)  # before mkdocstrings reads its configuration
def on_config(config: Any) -> Any:
    """Let mkdocstrings find the packages, without importing or installing them."""
    python = config.plugins['mkdocstrings'].config.handlers.setdefault('python', {})
    python['paths'] = [str(folder) for folder in sorted((ROOT / 'src').iterdir())]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and pictures from outside docs/, and the API pages."""
    for source, uri in site_uris().items():
        if not source.startswith('docs/'):
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    for package in sorted((ROOT / 'src').glob('rl_edge_*')):
        uri = f'{API}/{package.name}.md'
        files.append(File.generated(config, uri, content=api_page(package)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages."""
    uris = site_uris()
    sources = {uri: source for source, uri in uris.items()}
    uri = page.file.src_uri
    if uri not in sources:
        return markdown
    folder = PurePosixPath(sources[uri]).parent

    def relink(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path, hash_, anchor = target.partition('#')
        if re.match(r'[a-z]+:', target) or not path:
            return match[0]
        there = uris.get(normpath(str(folder / path)))
        if there is None:
            return text
        return f'{mark}[{text}]({relpath(there, str(PurePosixPath(uri).parent))}{hash_}{anchor})'

    return LINK.sub(relink, markdown)


def site_uris() -> dict[str, str]:
    """Return where each file of the repository that is shown lies on the site."""
    uris = {'README.md': 'index.md', 'README.ko.md': 'index.ko.md'}
    uris |= {'CONTRIBUTING.md': 'contributing.md', 'CHANGELOG.md': 'changelog.md'}
    for file in sorted((ROOT / 'docs').rglob('*')):
        if file.is_file():
            uris[str(file.relative_to(ROOT))] = str(file.relative_to(ROOT / 'docs'))
    patterns = ('models/*/*/card.md', 'models/*/*/*.png', 'src/*/QUALITY_DECLARATION.md')
    for pattern in (*patterns, 'examples/*/README.md'):
        for file in sorted(ROOT.glob(pattern)):
            uris[str(file.relative_to(ROOT))] = str(file.relative_to(ROOT))
    return {source: uri for source, uri in uris.items() if (ROOT / source).exists()}


def api_page(package: Path) -> str:
    """Return the page of one package: its description, and each module or message."""
    description = ElementTree.parse(package / 'package.xml').findtext('description')
    lines = [f'# {package.name}', '', description or '', '']
    for file in sorted(package.glob('[ms][sr][gv]/*.[ms][sr][gv]')):
        lines += [f'## {file.stem}', '', '```', file.read_text().strip(), '```', '']
    for file in sorted((package / package.name).rglob('*.py')):
        if not file.name.startswith('_'):
            module = '.'.join(file.relative_to(package).with_suffix('').parts)
            lines += [f'## {module.partition(".")[2]}', '', f'::: {module}', '']
            lines += ['    options:', '      show_root_heading: false', '']
    return '\n'.join(lines)
