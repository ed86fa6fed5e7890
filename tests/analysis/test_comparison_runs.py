"""Splits, stages, settings and executors of comparisons whose trainings are fake."""

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from lckd_mm.analysis import training
from lckd_mm.analysis.comparison_results import read_results
from lckd_mm.cli.compare import main
from lckd_mm.errors import ConfigRuntimeError, ConfigValueError
from tests.helpers.fake_training import CONFIG, install_fake_training

VARIANTS = ('plain: a.py', 'better: a.py gain=5')


@pytest.fixture(autouse=True)
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_training(tmp_path, monkeypatch)


def compare(*arguments: str, seeds: tuple = (0,)) -> list[dict]:
    """Run a comparison in the folder ``out`` and return its results."""
    metric = [] if arguments[0].endswith('.yml') else ['--metric', 'acc', '--seeds', *map(str, seeds)]
    main([*arguments, *metric, '--out', 'out'])
    return read_results('out/results.jsonl')


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
    assert 'The screening chose PKD as the best of companions.' in printed
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
        # The repeated result replaces the earlier one.
        assert len(compare(*VARIANTS, seeds=(0, 1))) == 5

    def test_two_machines_for_one_seed_are_refused_and_repeated_on_request(self) -> None:
        compare(*VARIANTS, seeds=(0, 1))
        edit('out/results.jsonl', {'host': 'elsewhere'})
        with pytest.raises(ConfigValueError, match=r"host is .* 'elsewhere' for 'better', seed 0"):
            compare(*VARIANTS, '--report-only', seeds=(0, 1))
        # Both runs of this seed.
        assert [r['seed'] for r in compare(*VARIANTS, '--repeat', seeds=(0, 1))] == [0, 0, 1, 1, 0, 0]
        compare(*VARIANTS, '--report-only', seeds=(0, 1))


class TestDeadline:
    def test_running_trainings_are_ended_and_resumed(self, capsys: pytest.CaptureFixture) -> None:
        start = time.monotonic()
        with pytest.raises(SystemExit) as end:
            compare('fast: a.py', 'slow: a.py sleep=60', 'later: a.py gain=1', '--deadline', '0.025')
        assert end.value.code == 3
        assert time.monotonic() - start < 20
        message = capsys.readouterr().err
        assert 'unfinished at the deadline: slow, seed 0; later, seed 0; the same command resumes' in message
        assert [r['variant'] for r in read_results('out/results.jsonl')] == ['fast']
        assert 'Not finished: slow, seed 0; later, seed 0.' in Path('out/table.md').read_text()

    def test_process_that_ignores_sigterm_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / 'stubborn.py').write_text(
            'import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint("ready", flush=True)\ntime.sleep(60)\n'
        )
        monkeypatch.setattr(training, 'TRAIN_COMMAND', (sys.executable, str(tmp_path / 'stubborn.py')))
        monkeypatch.setattr(training, '_GRACE', 0.2)
        start = time.monotonic()
        with pytest.raises(training.DeadlineError, match='ended at the deadline'):
            training.run_training('a.py', tmp_path / 'work', stop_at=start + 0.5)
        assert time.monotonic() - start < 20

    def test_training_that_ends_in_time_is_no_deadline(self, tmp_path: Path) -> None:
        training.run_training('a.py', tmp_path / 'work', stop_at=time.monotonic() + 60)


def test_terminated_comparison_ends_its_trainings() -> None:
    started = Path('out/runs/slow/seed0/started').absolute()
    unhandled: list[int] = []

    def terminate() -> None:
        while not started.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, lambda number, _: unhandled.append(number))
    start = time.monotonic()
    try:
        threading.Thread(target=terminate).start()
        with pytest.raises(SystemExit) as end:
            compare('slow: a.py sleep=30', 'next: a.py gain=1')
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert end.value.code == 128 + signal.SIGTERM
    assert not unhandled
    assert time.monotonic() - start < 20
    assert not Path('out/runs/next').exists()


def test_work_directory_is_locked_by_its_training(tmp_path: Path) -> None:
    work_dir = tmp_path / 'work'
    ends: list[ConfigRuntimeError] = []

    def train() -> None:
        try:
            training.run_training('a.py', work_dir, ['--cfg-options', 'sleep=30'])
        except ConfigRuntimeError as error:
            ends.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    while not (work_dir / 'started').exists() or not (work_dir / 'started').read_text():
        time.sleep(0.02)
    with pytest.raises(
        ConfigRuntimeError, match=r"another training is running in '.*work', perhaps of a command that was"
    ):
        training.run_training('a.py', work_dir)
    # The training keeps the lock if its comparison is killed.
    number = int((work_dir / 'started').read_text())
    assert str(work_dir / 'lock') in [os.readlink(path) for path in Path(f'/proc/{number}/fd').iterdir()]
    os.kill(number, signal.SIGKILL)
    thread.join()
    assert len(ends) == 1
    training.run_training('a.py', work_dir)


def test_checkpoints_of_finished_runs_are_deleted_on_request() -> None:
    compare(*VARIANTS)
    assert len(list(Path('out').rglob('*.pth'))) == 2
    assert len(compare(*VARIANTS, '--clean')) == 2
    assert not list(Path('out').rglob('*.pth'))
    assert list(Path('out').rglob('scalars.json'))
    assert len(compare(*VARIANTS, '--clean', seeds=(0, 1))) == 4
    assert not list(Path('out').rglob('*.pth'))


def test_progress_names_the_time_left_and_the_disk_space(capsys: pytest.CaptureFixture) -> None:
    compare(*VARIANTS)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('plain, seed 0'))
    assert re.search(r'103 \(0\.\d min\); 1 runs of the confirmation remain, about 0 min; 0\.00 GB in out', line)


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
