"""Every link leads somewhere, and every page can be reached."""

import importlib.util
import re
from pathlib import Path
from posixpath import normpath

import pytest
import yaml

_spec = importlib.util.spec_from_file_location('pages', Path(__file__).with_name('pages.py'))
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

LINKS = [
    (page, target)
    for page, text in pages.pages().items()
    for target in re.findall(r'\]\(([^)\s]+)\)', pages.without_code(text))
]


def test_there_are_links_to_look_at():
    assert len(LINKS) > 20


@pytest.mark.parametrize(('page', 'target'), LINKS)
def test_a_link_leads_to_a_file_and_a_heading_that_exist(page, target):
    if re.match(r'[a-z]+:', target):
        assert target.startswith('https://'), 'an address that is not read over TLS'
        return
    path, _, anchor = target.partition('#')
    there = normpath(str(Path(page).parent / path)) if path else page
    assert not there.startswith('..')
    assert (pages.ROOT / there).exists(), f'{page} links to {there}, which does not exist'
    if anchor:
        assert anchor in pages.anchors(pages.pages()[there]), f'no heading #{anchor} in {there}'


def test_every_page_of_docs_is_in_the_navigation_of_the_site():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor('tag:yaml.org,2002:python/', lambda *_: None)
    site = yaml.load((pages.ROOT / 'mkdocs.yml').read_text(), Loader)

    def leaves(entry):
        if isinstance(entry, dict):
            entry = list(entry.values())
        return [entry] if isinstance(entry, str) else [leaf for e in entry for leaf in leaves(e)]

    there = {
        str(file.relative_to(pages.ROOT / 'docs')) for file in (pages.ROOT / 'docs').glob('*.md')
    }
    translations = {name for name in there if name.endswith('.ko.md')}
    assert there - translations <= set(leaves(site['nav']))


def test_the_readme_is_short():
    assert pages.pages()['README.md'].count('\n') <= 120
