"""The project's pages: their text, code and links, as Markdown and GitHub see them."""

import functools
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r'^( *)```[^\n]*\n(.*?)^\1```', re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r'(?:(?<=\n\n)|\A)(?:(?: {4}|\t)[^\n]*(?:\n|\Z)|\n(?= {4}))+')


@functools.cache
def pages() -> dict[str, str]:
    """Return the text of each Markdown page that is tracked, by its path."""
    listed = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.md'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    names = [name for name in listed.split('\0') if name] or [
        str(file.relative_to(ROOT)) for file in ROOT.glob('docs/**/*.md')
    ]
    return {name: (ROOT / name).read_text() for name in sorted(names) if (ROOT / name).exists()}


def without_code(text: str) -> str:
    """Return a page without its code blocks and inline code."""
    text = INDENTED.sub('', FENCE.sub('', text))
    return re.sub(r'`[^`\n]*`', 'code', text)


def code_blocks(text: str) -> list[str]:
    """Return the code blocks of a page, fenced and indented ones."""
    fenced = [match[2] for match in FENCE.finditer(text)]
    indented = [match[0] for match in INDENTED.finditer(FENCE.sub('\n', text))]
    return [re.sub(r'^( {4}|\t)', '', block, flags=re.MULTILINE) for block in fenced + indented]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r'^#+ +(.*?)(?: +#+)?$', FENCE.sub('', text), re.MULTILINE):
        plain = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).replace('`', '')
        slug = re.sub(r'[^\w\- ]', '', plain.strip().lower()).replace(' ', '-')
        number = sum(1 for anchor in found if re.fullmatch(rf'{re.escape(slug)}(-\d+)?', anchor))
        found.add(f'{slug}-{number}' if slug in found else slug)
    return found
