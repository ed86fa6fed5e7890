"""The documentation: links and anchors exist, and the README stays short."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub forms them."""
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.S)
    headings = re.findall(r'^#+ (.+)$', text, flags=re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.S)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in target or target.startswith('mailto:'):
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_paths_of_the_repository_in_the_text_exist(page: Path) -> None:
    text = page.read_text(encoding='utf-8')
    for path in re.findall(r'(?<![\w/.:-])((?:configs|tools|docs|lckd_mm|tests|requirements)/[\w./-]*\w)', text):
        # The page of stock models quotes messages of packages with their files.
        if page.name in ('CHANGELOG.md', 'your_own_model.md', 'zoo.md') or '*' in path:
            continue
        assert (ROOT / path).exists(), path


def test_readme_has_at_most_150_lines_and_1000_words() -> None:
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1000


def test_tables_of_the_benchmarks_are_those_of_their_files() -> None:
    script = runpy.run_path(str(ROOT / 'tools/dev/update_performance.py'))
    page = script['PAGE'].read_text(encoding='utf-8')
    assert script['update'](page) == page
    assert '| the Lipschitz loss on raw taps |' in page
