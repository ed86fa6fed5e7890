import json
import sys
from pathlib import Path

import pytest

from lckd_mm.analysis import comparison_report, comparison_robustness
from lckd_mm.analysis.comparison_corruptions import Robustness
from lckd_mm.analysis.comparison_file import load_comparison
from lckd_mm.analysis.comparison_results import append_result, read_results
from lckd_mm.cli.compare import main
from lckd_mm.errors import ConfigError, ConfigRuntimeError, ConfigTypeError, ConfigValueError
from tests.helpers.fake_training import install_fake_training

COMPARISON = """
metric: acc
seeds: [0, 1]
robustness: {corruptions: [fog, snow], severities: [1, 3], metrics: [mmrazor.Calibration], options: {indices: 5}}
variants:
  - {name: plain, config: a.py}
  - {name: better, config: a.py, options: {gain: 5, bonus: 1}}
"""


@pytest.fixture(autouse=True)
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_training(tmp_path, monkeypatch)
    # The fake evaluation corrupts no image.
    monkeypatch.setattr(comparison_robustness, 'check_imagecorruptions', lambda: None)


def compare(*arguments: str, text: str = COMPARISON) -> list[dict]:
    Path('comparison.yml').write_text(text)
    main(['comparison.yml', '--out', 'out', *arguments])
    return read_results('out/robustness.jsonl')


def content() -> dict:
    return json.loads(Path('out/comparison.json').read_text())


def test_finished_runs_are_evaluated_once_and_reported() -> None:
    assert compare() == []
    assert content()['robustness'] is None
    num_results = len(read_results('out/results.jsonl'))
    lines = compare('--robustness', '--jobs', '2')
    # Two variants, two seeds, two corruptions at two severities and the images as they are.
    assert len(lines) == 2 * 2 * 5
    assert len(read_results('out/results.jsonl')) == num_results
    report = content()['robustness']
    # The checkpoint of seed 1 is evaluated as 113; `fog` costs 3 per severity, `snow` 4.
    assert report['values']['plain']['1'] == {'0': 113, '1': 109.5, '3': 102.5, 'mean': 106}
    assert report['relative']['plain'] == pytest.approx((96 / 103 + 106 / 113) / 2)
    assert report['by_corruption']['better'] == {'fog': 108.5, 'snow': 106.5}
    assert report['further']['calibration/ece']['better']['0'] == pytest.approx(
        {'0': 10.9, '1': 11.9, '3': 13.9, 'mean': 12.9}
    )
    table = Path('out/table.md').read_text()
    assert '| plain | 2 | 108.00 ± 7.07 | 104.50 ± 7.07 | 97.50 ± 7.07 | 101.00 ± 7.07 | 0.935 ± 0.004 |' in table
    assert compare('--robustness') == lines
    compare('--report-only')
    assert content()['robustness'] == report


def test_differences_are_paired_and_all_of_them_are_adjusted() -> None:
    compare()
    compare('--robustness')
    differences = [d for d in content()['robustness']['comparisons'] if d['metric'] == 'acc']
    assert [d['severity'] for d in differences] == [1, 3, 'mean']
    # 6 with seed 0 and 7 with seed 1, at all severities: t = 6.5 / 0.5 with one degree of freedom.
    for difference in differences:
        assert difference['difference']['mean'] == pytest.approx(6.5)
        assert difference['difference']['p_value'] == pytest.approx(0.04887, abs=1e-5)
        assert difference['adjusted_p'] == pytest.approx(3 * 0.04887, abs=1e-4)
        assert difference['word'] == 'cannot tell'
    table = Path('out/table.md').read_text()
    assert (
        '- On corrupted images, cannot tell whether better helps compared with plain: +6.50 acc, 2 seeds, 95 % interval'
        in table
    )
    # A further metric has no verdict.
    assert {d['word'] for d in content()['robustness']['comparisons'] if d['metric'] != 'acc'} == {None}


def test_options_and_split_reach_the_evaluation() -> None:
    compare('--report-on', 'val')
    lines = compare('--robustness', '--report-on', 'val')
    assert {line['split'] for line in lines} == {'val'}
    assert lines[0]['evaluation_options'] == ['indices=5']
    log = Path('out/runs/better/seed1/robustness/test.log').read_text()
    assert log.startswith("options ['bonus', 'gain', 'indices', 'randomness.seed'] val")


def test_interrupted_evaluation_continues_where_it_failed() -> None:
    compare()
    broken = COMPARISON.replace('indices: 5', "fails_at: 'snow:3'")
    with pytest.raises(ConfigRuntimeError, match='failed: plain, seed 0: snow:3 failed'):
        compare('--robustness', text=broken)
    lines = read_results('out/robustness.jsonl')
    # The runs start with different corruptions: 3, 2, 1 and none are evaluated before the failure, and the images as they are.
    assert len(lines) == 3 + 2 + 1 + 4
    # Without a complete run there is no report; what was evaluated with the same options stays.
    assert content()['robustness'] is None
    for line in lines:
        append_result('out/robustness.jsonl', line | dict(evaluation_options=['indices=5']))
    assert len(compare('--robustness')) == 2 * 10 + 10
    assert content()['robustness']['values']['plain']['0']['mean'] == 96


def test_an_evaluation_may_lack_the_images_as_they_are_only() -> None:
    compare()
    lines = compare('--robustness')
    corrupted = [line for line in lines if line['severity']]
    Path('out/robustness.jsonl').write_text(''.join(f'{json.dumps(line)}\n' for line in corrupted))
    again = compare('--robustness')
    assert again[: len(corrupted)] == corrupted
    assert [line['corruption'] for line in again[len(corrupted) :]] == ['none'] * 4
    assert Path('out/runs/better/seed1/robustness/test.log').read_text().splitlines()[1].endswith(' none')


def test_a_repeated_training_is_evaluated_again() -> None:
    compare()
    compare('--robustness')
    (result, *_) = read_results('out/results.jsonl')
    append_result('out/results.jsonl', result | dict(finished='later'))
    assert len(compare('--robustness')) == 20 + 5


def test_deleted_checkpoints_are_reported_and_the_others_evaluated() -> None:
    compare()
    Path('out/runs/plain/seed1/epoch_3.pth').unlink()
    with pytest.raises(
        ConfigRuntimeError, match=r'failed: plain, seed 1: its checkpoint .* was deleted: evaluate .* before --clean'
    ):
        compare('--robustness')
    assert len(read_results('out/robustness.jsonl')) == 3 * 5


def test_a_moved_folder_has_its_checkpoints() -> None:
    compare()
    for pointer in Path('out').rglob('last_checkpoint'):
        pointer.write_text('/elsewhere/epoch_3.pth')
    assert len(compare('--robustness')) == 20


def test_clean_deletes_the_checkpoints_after_the_evaluation() -> None:
    compare()
    assert len(compare('--robustness', '--clean')) == 20
    assert not list(Path('out').rglob('*.pth'))


def test_clean_keeps_the_checkpoints_whose_evaluation_is_missing() -> None:
    compare()
    with pytest.raises(SystemExit):
        compare('--robustness', '--clean', '--deadline', '0')
    assert len(list(Path('out').rglob('*.pth'))) == 4
    assert len(compare('--robustness', '--clean')) == 20


def test_deadline_leaves_the_evaluations_unfinished(capsys: pytest.CaptureFixture) -> None:
    compare()
    with pytest.raises(SystemExit) as end:
        compare('--robustness', '--deadline', '0')
    assert end.value.code == 3
    assert 'unfinished at the deadline: plain, seed 0;' in capsys.readouterr().err


def test_evaluations_with_other_packages_are_not_mixed() -> None:
    compare()
    (first, *_) = compare('--robustness')
    append_result('out/robustness.jsonl', first | dict(versions={'numpy': '1.0'}))
    with pytest.raises(ConfigValueError, match='evaluations with different packages'):
        compare('--report-only')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(['--robustness'], 'has no finished run'), (['--robustness', '--slurm', 'gpu'], 'evaluates on this machine')],
)
def test_what_cannot_be_evaluated_is_one_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        compare(*arguments)


def test_missing_package_is_reported_before_any_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    compare()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(ConfigRuntimeError, match='imagecorruptions'):
        comparison_robustness.evaluate_robustness(None)


@pytest.mark.parametrize(
    ('entry', 'error', 'message'),
    [
        ('{corruptions: [fogg]}', ConfigValueError, "in robustness, corruption 'fogg' is unknown"),
        ('{severities: [0]}', ConfigValueError, 'severity 0 is not an integer from 1 to 5'),
        ('{severities: [true]}', ConfigTypeError, 'are not integers'),
        ('{corruptions: []}', ConfigTypeError, 'not a list of at least one entry'),
        ('{corruptions: [fog, fog]}', ConfigValueError, 'contains a value twice'),
        ('{metrics: [{type: A}]}', ConfigTypeError, 'not text'),
        ('{severity: [1]}', ConfigValueError, "key 'severity' is unknown"),
    ],
)
def test_wrong_entries_are_refused(entry: str, error: type[ConfigError], message: str) -> None:
    Path('comparison.yml').write_text(f'metric: acc\nvariants: [{{config: a.py}}]\nrobustness: {entry}\n')
    with pytest.raises(error, match=message):
        load_comparison('comparison.yml')


def test_default_is_the_benchmark_without_its_slowest_corruption() -> None:
    assert len(Robustness().evaluations) == 14 * 3
    assert 'glass_blur' not in Robustness().corruptions


def test_plot_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lckd_mm.analysis.comparison_robustness_plot import plot_robustness

    monkeypatch.setattr(comparison_report, 'plot_robustness', plot_robustness)
    compare()
    compare('--robustness')
    assert (tmp_path / 'out' / 'robustness.png').stat().st_size > 10_000


def test_runs_share_the_corrupted_images_and_start_with_different_ones() -> None:
    compare()
    Path('out/corrupted_images').mkdir()
    compare('--robustness')
    logs = [path.read_text().splitlines()[1] for path in sorted(Path('out').glob('runs/*/seed*/robustness/test.log'))]
    folders, orders = zip(*(line.removeprefix('images ').split(' ', 1) for line in logs))
    assert set(folders) == {'out/corrupted_images'}
    assert {order.split()[0] for order in orders} == {'fog:1', 'fog:3', 'snow:1', 'snow:3'}
    assert {frozenset(order.split()) for order in orders} == {frozenset({'fog:1', 'fog:3', 'snow:1', 'snow:3'})}
    # All runs are evaluated.
    assert not Path('out/corrupted_images').exists()


def test_corrupted_images_stay_for_the_evaluations_that_are_missing() -> None:
    compare()
    Path('out/corrupted_images').mkdir()
    with pytest.raises(ConfigRuntimeError, match='failed: plain, seed 0'):
        compare('--robustness', text=COMPARISON.replace('indices: 5', "fails_at: 'snow:3'"))
    assert Path('out/corrupted_images').exists()
