"""Splits, stages and settings of comparisons whose trainings are fake."""

import json
from pathlib import Path

import pytest

from lckd_mm.analysis.comparison_results import read_results
from lckd_mm.errors import ConfigRuntimeError, ConfigValueError
from tests.helpers.fake_training import CONFIG, VARIANTS, compare, install_fake_training


@pytest.fixture(autouse=True)
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_training(tmp_path, monkeypatch)


def edit(path: str, change: dict) -> None:
    """Change settings in a file of results, of seed 0 of the variant 'better'."""
    results = read_results(path)
    for result in results:
        if (result['variant'], result['seed']) == ('better', 0):
            result['settings'].update(change)
    Path(path).write_text(''.join(json.dumps(result) + '\n' for result in results))


class TestSplits:
    def test_same_images_are_evaluated_once_and_named(self, capsys: pytest.CaptureFixture) -> None:
        Path('a.py').write_text(CONFIG.replace("split='test'", "split='val'"))
        results = compare(*VARIANTS)
        assert [result['report']['value'] for result in results] == [3, 8]
        assert not Path('out/runs/plain/seed0/report').exists()
        assert 'Selected and reported on the same images: val_dataloader and test_dataloader' in capsys.readouterr().out
        assert 'the same images' in json.loads(Path('out/comparison.json').read_text())['splits']

    def test_same_images_with_another_pipeline_are_evaluated_and_named(self, capsys: pytest.CaptureFixture) -> None:
        Path('a.py').write_text(CONFIG.replace("split='test', pipeline=[]", "split='val', pipeline=['flip']"))
        assert [result['report']['value'] for result in compare(*VARIANTS)] == [103, 108]
        assert 'the same images' in capsys.readouterr().out

    def test_validation_can_be_reported(self, capsys: pytest.CaptureFixture) -> None:
        results = compare(*VARIANTS, '--report-on', 'val')
        assert 'on the same images: both on val_dataloader, so that' in capsys.readouterr().out
        assert [result['report'] for result in results] == [dict(split='val', value=v, options=[]) for v in (3, 8)]

    def test_test_images_can_select(self) -> None:
        (result,) = compare('a.py', '--select-on', 'test', '--report-on', 'val')
        assert (result['select']['split'], result['select']['last'], result['report']['value']) == ('test', 103, 3)
        assert result['select']['values'] == [1, 2, 3]

    def test_config_without_test_data_is_reported_on_the_validation_data(self) -> None:
        Path('a.py').write_text("val_dataloader = dict(dataset=dict(type='Photographs'))")
        (result,) = compare('a.py')
        assert result['report'] == dict(split='val', value=3, options=[])
        with pytest.raises(ConfigValueError, match=r"report_on='test', but a\.py has no test_dataloader"):
            compare('a.py', '--report-on', 'test')
        with pytest.raises(
            ConfigValueError, match=r"the configs of \['a'\] have no test_dataloader.*report_on to \"val\""
        ):
            compare('a.py', 'b.py')

    def test_options_of_the_evaluations(self) -> None:
        Path('c.yml').write_text(
            'metric: acc\nseeds: [0]\nvariants: [{config: a.py}]\nselect_options: {gain: 1}\nreport_options: {shift: 50}\n'
        )
        (result,) = compare('c.yml')
        assert (result['select']['last'], result['report']['value']) == (4, 154)
        assert result['options'] == []

    def test_options_of_the_report_are_used_where_both_splits_are_the_same_data(self) -> None:
        Path('a.py').write_text(CONFIG.replace("split='test'", "split='val'"))
        Path('c.yml').write_text('metric: acc\nseeds: [0]\nvariants: [{config: a.py}]\nreport_options: {shift: 50}\n')
        (result,) = compare('c.yml')
        assert (result['select']['last'], result['report']['value']) == (3, 153)

    @pytest.mark.parametrize('split', ['val', 'test'])
    def test_config_without_evaluations_is_refused_before_its_training(self, split: str) -> None:
        Path('a.py').write_text("test_dataloader = dict(dataset=dict(type='Photographs'))")
        with pytest.raises(ConfigValueError, match=r'a\.py has no val_dataloader, but .*: add val_dataloader'):
            compare('a.py', '--select-on', split)
        assert not Path('out/runs').exists()

    def test_another_split_is_evaluated_without_a_training(self) -> None:
        compare('a.py', '--report-on', 'val')
        log = Path('out/runs/a/seed0/train.log')
        modified = Path('out/runs/a/seed0/settings.json').stat().st_ino
        results = compare('a.py')
        assert [result['report']['value'] for result in results] == [3, 103]
        assert log.read_text().count('options') == 2  # Resumed: mmengine ends a finished training at once.
        assert Path('out/runs/a/seed0/settings.json').stat().st_ino == modified
        assert '103.00' in Path('out/table.md').read_text()

    def test_metric_that_the_test_data_lack_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        script = Path('fake_test.py')
        script.write_text(script.read_text().replace("{'acc'", "{'mIoU'"))
        with pytest.raises(ConfigRuntimeError, match=r"metric 'acc' is not in the evaluation .*\['mIoU', 'time'\]"):
            compare('a.py')


def test_training_without_logged_losses_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / 'fake_train.py'
    script.write_text(
        script.read_text().replace('lines = [dict(', 'lines = [] and [dict(').replace("lines += [{'loss", "[{'loss")
    )
    with pytest.raises(ConfigRuntimeError, match=r'failed: a, seed 0: .* reduce default_hooks\.logger\.interval'):
        compare('a.py')


def test_values_of_a_grid_that_differ_in_their_sign_have_their_own_folders() -> None:
    Path('c.yml').write_text(
        'metric: acc\nseeds: [0]\nscreening: {seeds: [100]}\n'
        'variants: [{config: b.py}, {config: a.py, grid: {gain: [-1, 1, 1e-05, 1e05]}}]\n'
    )
    compare('c.yml', '--stage', 'screening')
    assert len(list(Path('out/screening/a').iterdir())) == 4


GRID = """
metric: acc
seeds: [0, 1]
screening: {seeds: [100, 101]}
confirm_best_of: companions
variants:
  - {name: plain, config: a.py}
  - {name: KD, config: a.py, group: companions, options: {gain: 1}}
  - {name: PKD, config: a.py, group: companions, grid: {gain: [2, 4, 3]}}
  - {name: LCKD + KD, config: a.py, against: KD}
  - {name: LCKD + PKD, config: b.py, against: PKD, inherits_grid: true, grid: {bonus: [-1, 0.5]}}
"""


def test_screening_chooses_and_confirmation_reports_other_seeds(capsys: pytest.CaptureFixture) -> None:
    Path('c.yml').write_text(GRID)
    results = compare('c.yml', '--stage', 'screening')
    # KD once and three values of PKD with both seeds; then LCKD + PKD with the chosen value.
    assert [(r['variant'], r['options'], r['seed']) for r in results[:4]] == [
        ('KD', ['gain=1'], 100),
        ('PKD', ['gain=2'], 100),
        ('PKD', ['gain=4'], 100),
        ('PKD', ['gain=3'], 100),
    ]
    assert {tuple(r['options']) for r in results[8:]} == {('gain=4', 'bonus=-1'), ('gain=4', 'bonus=0.5')}
    assert len(results) == 12
    assert all(r['stage'] == 'screening' and r['report'] is None for r in results)
    capsys.readouterr()
    results = compare('c.yml')[12:]
    assert [(r['seed'], r['variant']) for r in results] == [
        (seed, name) for seed in (0, 1) for name in ('plain', 'PKD', 'LCKD + PKD')
    ]
    assert [r['report']['value'] for r in results] == [103, 107, 107.5, 113, 117, 118]
    screening = json.loads(Path('out/screening.json').read_text())
    assert [(s['variant'], s['options']) for s in screening if s['confirmed']] == [
        ('PKD', ['gain=4']),
        ('LCKD + PKD', ['gain=4', 'bonus=0.5']),
    ]
    assert screening[2] == dict(
        variant='PKD', options=['gain=4'], values={'100': 1007, '101': 1017}, mean=1012, chosen=True, confirmed=True
    )
    printed = capsys.readouterr().out
    sentence = (
        'The screening chose PKD as the best of companions; the confirmation trains plain, PKD (gain=4), '
        'LCKD + PKD (gain=4, bonus=0.5).'
    )
    before, _, after = printed.partition('plain, seed 0')
    assert before.count(sentence) == after.count(sentence) == 1
    content = json.loads(Path('out/comparison.json').read_text())
    pairs = [(c['variant'], c['reference'], c['is_primary']) for c in content['comparisons']]
    assert pairs == [('LCKD + PKD', 'PKD', True), ('PKD', 'plain', False), ('LCKD + PKD', 'plain', False)]


def test_confirmation_needs_the_screening() -> None:
    Path('c.yml').write_text(GRID)
    with pytest.raises(
        ConfigValueError, match=r'needs screening runs that are missing: KD, seed 100; .*--stage screening'
    ):
        compare('c.yml', '--stage', 'confirmation')


def test_failed_point_of_a_grid_is_not_left_out() -> None:
    Path('c.yml').write_text(GRID.replace('{gain: [2, 4, 3]}', '{broken: [0, 1]}').replace('gain: 1', 'gain: 9'))
    with pytest.raises(ConfigRuntimeError, match=r'failed: PKD \(broken=.\), seed 100: it is broken'):
        compare('c.yml')
    assert {r['stage'] for r in read_results('out/results.jsonl')} == {'screening'}
    assert 'Not finished: PKD' in Path('out/table.md').read_text()


class TestSettings:
    def test_changed_config_is_repeated_from_the_start(self) -> None:
        compare(*VARIANTS)
        Path('out/runs/plain/seed0/marker').touch()
        Path('a.py').write_text(CONFIG + 'lr = 1\n')
        with pytest.raises(ConfigValueError, match=r'result of plain, seed 0 in .* another state of a\.py'):
            compare(*VARIANTS, '--report-only')
        assert len(compare(*VARIANTS)) == 4
        assert not Path('out/runs/plain/seed0/marker').exists()
        Path('a.py').write_text(CONFIG + "work_dir = 'x'\nlr = 1\n")
        assert len(compare(*VARIANTS)) == 4

    def test_new_teacher_is_a_new_training(self) -> None:
        Path('a.py').write_text(CONFIG + "model = dict(teacher_ckpt='t.pth')\n")
        for content, expected in (('one', 2), ('two', 4), ('two', 4)):
            Path('t.pth').write_text(content)
            assert len(compare(*VARIANTS)) == expected

    def test_mixed_settings_are_refused_and_repeated_on_request(self) -> None:
        compare(*VARIANTS, seeds=(0, 1))
        edit('out/results.jsonl', {'precision': 'mixed'})
        message = "precision is 'float32' for 'plain', seed 0 and 'mixed' for 'better', seed 0; .*--repeat"
        with pytest.raises(ConfigValueError, match=message):
            compare(*VARIANTS, seeds=(0, 1))
        results = compare(*VARIANTS, '--repeat', seeds=(0, 1))
        assert [(r['variant'], r['seed']) for r in results[4:]] == [('better', 0)]
        edit('out/results.jsonl', {'threads': 99})
        # The error comes before a training that could not be compared.
        with pytest.raises(ConfigValueError, match=r"threads is \d+ for 'plain', seed 0 and 99 for 'better'"):
            compare(*VARIANTS, '--seeds', '0', '2')
        assert not Path('out/runs/plain/seed2').exists()
        edit('out/results.jsonl', {'threads': results[0]['settings']['threads']})
        # The repeated result replaces the earlier one.
        assert len(compare(*VARIANTS, seeds=(0, 1))) == 5

    def test_changed_settings_repeat_everything_on_request(self) -> None:
        compare(*VARIANTS)
        with pytest.raises(
            ConfigValueError, match="precision is 'float32' for 'plain', seed 0 and 'mixed' for 'plain', seed 1"
        ):
            compare(*VARIANTS, '--train-args=--amp', seeds=(0, 1))
        results = compare(*VARIANTS, '--train-args=--amp', '--repeat', seeds=(0, 1))
        assert [r['settings']['precision'] for r in results] == ['float32'] * 2 + ['mixed'] * 4

    def test_two_machines_for_one_seed_are_refused_and_repeated_on_request(self) -> None:
        compare(*VARIANTS, seeds=(0, 1))
        edit('out/results.jsonl', {'host': 'elsewhere'})
        with pytest.raises(ConfigValueError, match=r"host is .* 'elsewhere' for 'better', seed 0"):
            compare(*VARIANTS, '--report-only', seeds=(0, 1))
        # Both runs of this seed.
        assert [r['seed'] for r in compare(*VARIANTS, '--repeat', seeds=(0, 1))] == [0, 0, 1, 1, 0, 0]
        compare(*VARIANTS, '--report-only', seeds=(0, 1))


def test_report_contains_what_a_reader_needs_to_check_it() -> None:
    compare(*VARIANTS, seeds=(0, 1, 2))
    content = json.loads(Path('out/comparison.json').read_text())
    assert content['format'] == 1
    assert content['command'][:4] == ['python', '-m', 'lckd_mm', 'compare']
    assert content['versions']['torch']
    assert content['hardware']['device']
    assert content['hardware']['precision'] == 'float32'
    assert content['variants'][1]['values'] == {'0': 108, '1': 118, '2': 128}
    (pair,) = content['comparisons']
    assert (pair['variant'], pair['reference'], pair['word'], pair['seeds']) == ('better', 'plain', 'helps', [0, 1, 2])
    assert pair['difference']['mean'] == 5
    assert pair['time_ratio']['mean'] == 1
