"""The documentation: links and anchors exist, and the README stays short."""

import json
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


HEADER = dict(title='Title, CPU', commit='0123456789', is_dirty=False, date='2026-11-27T00:00:00+00:00')


def write_record(folder: Path, name: str, **content: object) -> None:
    (folder / f'{name}.json').write_text(json.dumps(dict(HEADER, **content)))


RESULTS = [*(ROOT / 'docs/results').glob('*.json*'), *(ROOT / 'configs').rglob('results_*.json')]


@pytest.mark.parametrize('path', RESULTS, ids=lambda path: path.name)
def test_results_contain_no_path_of_a_machine(path: Path) -> None:
    found = re.findall(r'(?<![\w.:/-])/[\w.-]+/[\w./-]+', path.read_text(encoding='utf-8'))
    assert not found[:3]


def test_tables_of_the_spectral_norm_are_written_from_their_file(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / 'tools/dev/update_performance.py'))
    page = script['PAGE'].read_text(encoding='utf-8')
    assert script['update'](page, tmp_path) == page
    column = dict(forward=[0.001, 0.001], backward=[0.001, 0.001], error=1e-7, gradient_error=1e-6, memory=2**20)
    slow = dict(column, forward=[0.003, 0.003])
    row = dict(name='2, 8@4, 8@2', group='reference', plan='2 images, factored', floor=slow, traffic=column)
    rows = [dict(row, lckd_mm=column, published=slow)]
    write_record(tmp_path, 'benchmark_spectral', columns=['lckd_mm', 'published'], rows=rows)
    updated = script['update'](page, tmp_path)
    before, _, rest = updated.partition('<!-- begin benchmark_spectral -->')
    section, _, after = rest.partition('<!-- end benchmark_spectral -->')
    assert section.startswith('\nTitle, CPU, commit 0123456, 2026-11-27.\n\n| shape |')
    ratios = '0.500 (0.500 to 0.500) | 1.000 (1.000 to 1.000)'
    assert f'| 2, 8@4, 8@2 | 4.00 | 2.00 | 2.00 | 4.00 | {ratios} | 2 images, factored |' in section
    assert '- lckd_mm / published, reference: 0.500 (0.500 to 0.500) in the geometric mean' in section
    assert page.startswith(before)
    assert page.endswith(after)


def test_table_and_plot_of_the_growth_are_written_from_their_file(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / 'tools/dev/update_performance.py'))
    page = script['PAGE'].read_text(encoding='utf-8')
    case = dict(images=4, side=8, taps=3, channels=16, gradients=2**20)
    rows = [
        dict(case, quantity=quantity, size=size, seconds=[0.01 * size], memory=2**21 * size)
        for quantity in ('images', 'side', 'taps', 'channels')
        for size in (1, 2, 3, 4, 5, 6)
    ]
    write_record(tmp_path, 'benchmark_growth', rows=rows)
    updated = script['update'](page, tmp_path)
    assert '| pairs of taps | B = 4, N = 8², C = 16 | 4, 5, 6 | 1.00 (1.00 to 1.00) |' in updated
    assert '![Time and memory by size](benchmark_growth.png)' in updated
    script['PLOTS']['benchmark_growth'](script['read_records'](tmp_path)['benchmark_growth'], tmp_path / 'growth.png')
    assert (tmp_path / 'growth.png').stat().st_size > 10_000


def test_section_that_is_missing_from_the_page_is_an_error(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / 'tools/dev/update_performance.py'))
    write_record(tmp_path, 'benchmark_step', pairs={})
    with pytest.raises(
        ValueError, match="has no section 'benchmark_step': add the lines '<!-- begin benchmark_step -->'"
    ):
        script['update']('# Performance\n', tmp_path)
