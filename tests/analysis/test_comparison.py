import json
import sys
from pathlib import Path

import pytest

from lckd_mm.analysis import training
from lckd_mm.analysis.comparison import Teacher
from lckd_mm.analysis.comparison_file import find_teacher_checkpoint, load_comparison
from lckd_mm.analysis.comparison_runs import append_result, read_results, train_teacher
from lckd_mm.cli.compare import main
from lckd_mm.errors import (
    ConfigError,
    ConfigFileNotFoundError,
    ConfigRuntimeError,
    ConfigTypeError,
    ConfigValueError,
)

# Writes the log of a training, and the checkpoint of a teacher.
FAKE_TRAINING = """
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument('config')
parser.add_argument('--work-dir', type=pathlib.Path)
parser.add_argument('--resume', action='store_true')
parser.add_argument('--amp', action='store_true')
parser.add_argument('--cfg-options', nargs='+', default=())
args = parser.parse_args()
options = dict(option.split('=') for option in args.cfg_options)
if options.get('broken'):
    sys.exit('it is broken')
if args.config == 'teacher.py':
    print('11/25 10:00:00 - mmengine - INFO - Epoch(train) [1][1/1]')
    (args.work_dir / options.get('writes', 'epoch_1.pth')).touch()
seed = int(options.get('randomness.seed', 0))
folder = args.work_dir / 'run' / 'vis_data'
folder.mkdir(parents=True)
lines = [dict(loss=2.0, time=9.0, step=1), dict(loss=1.0, time=0.5, step=2)]
lines += [{'loss': 0.5, 'distill.loss': 0.1, 'time': 0.3, 'step': 3}]
lines += [{'acc': float(options.get('gain', 0)) + 10 * seed + epoch, 'step': epoch} for epoch in (1, 2, 3)]
(folder / 'scalars.json').write_text(''.join(json.dumps(line) + chr(10) for line in lines) + '{"cut off')
"""


@pytest.fixture(autouse=True)
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'train.py').write_text(FAKE_TRAINING)
    monkeypatch.setattr(training, 'TRAIN_COMMAND', (sys.executable, str(tmp_path / 'train.py')))


def write_comparison(folder: Path, text: str) -> str:
    path = folder / 'comparison.yml'
    path.write_text(text)
    return str(path)


COMPARISON = """
metric: acc
seeds: [0, 2]
variants:
  - name: plain  # the baseline
    config: a.py
  - name: better
    config: a.py
    options: {gain: 5}
"""


def test_comparison_trains_what_is_missing_and_reports_mean_and_deviation(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'out'

    def compare(*arguments: str) -> str:
        main([write_comparison(tmp_path, COMPARISON), '--out', str(out), '--jobs', '2', *arguments])
        return capsys.readouterr().out

    compare()
    results = {(r['variant'], r['seed']): r for r in read_results(out / 'results.jsonl')}
    assert sorted(results) == [('better', 0), ('better', 2), ('plain', 0), ('plain', 2)]
    assert results['better', 2]['values'] == [26, 27, 28]
    assert results['better', 2]['seconds_per_iteration'] == 0.5
    assert results['better', 2]['last_losses'] == {'loss': 0.5, 'distill.loss': 0.1}
    # 3 and 23: 13, with the sample standard deviation 20 / sqrt(2); better by 5 with every seed.
    table = (out / 'table.md').read_text().splitlines()
    assert table[2].startswith('| plain | 2 | 13.00 ± 14.14 | 13.00 ± 14.14 |  |')
    assert table[3].startswith('| better | 2 | 18.00 ± 14.14 | 18.00 ± 14.14 | +5.00 ± 0.00 |')
    assert (out / 'comparison.png').stat().st_size > 10_000

    # Existing results are not trained again, and nothing is trained with --report-only.
    assert 'seed 1' in compare('--seeds', '0', '1', '2')
    assert len(read_results(out / 'results.jsonl')) == 6
    compare('--seeds', '7', '--report-only')
    assert len(read_results(out / 'results.jsonl')) == 6


def test_variants_can_be_arguments(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    main(['plain: a.py', 'a.py gain=5', '--metric', 'acc', '--seeds', '1', '--out', str(out), '--train-args=--amp'])
    assert [(r['variant'], r['last']) for r in read_results(out / 'results.jsonl')] == [('plain', 13), ('a gain=5', 18)]


def test_one_failed_training_leaves_the_other_results(tmp_path: Path) -> None:
    arguments = ('bad: a.py broken=1', 'good: a.py', '--seeds', '0', '--metric', 'acc', '--out', str(tmp_path / 'out'))
    with pytest.raises(ConfigRuntimeError, match=r'failed: bad, seed 0: it is broken \(complete log: .*train.log\)'):
        main(arguments)
    (result,) = read_results(tmp_path / 'out' / 'results.jsonl')
    assert result['variant'] == 'good'


def test_metric_that_was_not_evaluated_is_reported_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigRuntimeError, match=r"metric 'mIoU' was never evaluated; evaluated metrics: \['acc'\]"):
        main(['a.py', '--seeds', '0', '--metric', 'mIoU', '--out', str(tmp_path)])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['x: a.py b', '--metric', 'acc'], "variant 'x: a.py b' cannot be read"),
        (['x: a.py', 'x: b.py', '--metric', 'acc'], "two variants have the same name, 'x'"),
        (['a+b: a.py', 'a b: b.py', '--metric', 'acc'], "'a\\+b' and 'a b'"),
        (['a.py'], '--metric is missing'),
        (['a.py', 'b.yml'], "'b.yml' is given together with other variants"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        main([*arguments, '--out', str(tmp_path / 'out')])


def test_cut_line_of_the_results_is_omitted_and_repeated(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    arguments = [write_comparison(tmp_path, COMPARISON), '--out', str(out)]
    main(arguments)
    path = out / 'results.jsonl'
    path.write_text(path.read_text()[:-30])
    assert len(read_results(path)) == 3
    (missing,) = {(v, s) for v in ('plain', 'better') for s in (0, 2)} - {
        (r['variant'], r['seed']) for r in read_results(path)
    }
    folder = out / 'runs' / missing[0] / f'seed{missing[1]}' / 'run' / 'vis_data'
    (folder / 'scalars.json').unlink()
    folder.rmdir()
    main(arguments)
    assert len(read_results(path)) == 4
    append_result(path, dict(seed=9))
    assert read_results(path)[-1] == dict(seed=9)
    assert not (tmp_path / 'none.jsonl').exists()
    assert read_results(tmp_path / 'none.jsonl') == []


class TestTeacher:
    @pytest.fixture
    def comparison(self, tmp_path: Path) -> str:
        teacher = f'teacher: {{config: teacher.py, checkpoint: {tmp_path}/teacher/epoch_1.pth}}\n'
        return write_comparison(tmp_path, COMPARISON + teacher)

    def test_is_trained_first_and_once(self, comparison: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        arguments = [comparison, '--out', str(tmp_path / 'out'), '--seeds', '0']
        main(arguments)
        assert (tmp_path / 'teacher' / 'epoch_1.pth').exists()
        assert 'Epoch(train)' in (tmp_path / 'teacher' / 'train.log').read_text()
        assert 'teacher: training teacher.py' in capsys.readouterr().out
        main(arguments)
        assert 'teacher' not in capsys.readouterr().out

    def test_failure_ends_the_comparison(self, tmp_path: Path) -> None:
        teacher = Teacher('teacher.py', tmp_path / 'teacher' / 'epoch_1.pth', ('broken=1',))
        with pytest.raises(ConfigRuntimeError, match='the training of the teacher failed: it is broken'):
            train_teacher(teacher, [])

    def test_checkpoint_that_was_not_written_is_reported_with_those_that_were(self, tmp_path: Path) -> None:
        teacher = Teacher('teacher.py', tmp_path / 'teacher' / 'epoch_1.pth', ('writes=epoch_8.pth',))
        with pytest.raises(ConfigRuntimeError, match=r"wrote \['epoch_8.pth'\].*but not 'epoch_1.pth'"):
            train_teacher(teacher, [])

    def test_checkpoint_is_that_of_the_variants(self, tmp_path: Path) -> None:
        (tmp_path / 'plain.py').write_text("model = dict(type='Model')\n")
        (tmp_path / 'lckd.py').write_text("model = dict(type='Model', teacher_ckpt='work_dirs/t/epoch_2.pth')\n")
        variants = f'variants: [{{config: {tmp_path}/plain.py}}, {{config: {tmp_path}/lckd.py}}]\n'
        path = write_comparison(tmp_path, f'metric: acc\nteacher: {{config: teacher.py}}\n{variants}')
        assert load_comparison(path).teacher == Teacher('teacher.py', Path('work_dirs/t/epoch_2.pth'))
        other = variants.replace('lckd.py}', 'lckd.py, options: {model.teacher_ckpt: other.pth}}')
        path = write_comparison(tmp_path, f'metric: acc\nteacher: {{config: teacher.py}}\n{other}')
        assert load_comparison(path).teacher.checkpoint == Path('other.pth')

    def test_checkpoint_must_be_unique(self, tmp_path: Path) -> None:
        (tmp_path / 'plain.py').write_text("model = dict(type='Model')\n")
        path = write_comparison(tmp_path, f'metric: acc\nvariants: [{{config: {tmp_path}/plain.py}}]\n')
        with pytest.raises(ConfigValueError, match='name 0 checkpoints of a teacher'):
            find_teacher_checkpoint(load_comparison(path).variants)


@pytest.mark.parametrize(
    ('text', 'kind', 'message'),
    [
        ('metric: [', ConfigValueError, 'is not valid YAML'),
        ('- a', ConfigTypeError, 'the comparison is .* a list: write a mapping with the keys metric, variants'),
        ('metrik: acc\nvariants: [{config: a.py}]', ConfigValueError, "key 'metrik' is unknown.*did you mean 'metric'"),
        ('variants: [{config: a.py}]', ConfigValueError, "the comparison has no 'metric'"),
        ('metric: 3\nvariants: [{config: a.py}]', ConfigTypeError, 'metric=3 is not text'),
        ('metric: acc\nvariants: a.py', ConfigTypeError, "variants='a.py' is not a list"),
        ('metric: acc\nvariants: []', ConfigTypeError, r'variants=\[\] is not a list of at least one'),
        ('metric: acc\nvariants: [a.py]', ConfigTypeError, "a variant is 'a.py', a str"),
        ('metric: acc\nvariants: [{name: x}]', ConfigValueError, "a variant has no 'config'"),
        ('metric: acc\nvariants: [{config: a.py, nam: x}]', ConfigValueError, "key 'nam' is unknown"),
        ('metric: acc\nvariants: [{config: a.py, options: x=1}]', ConfigTypeError, "options='x=1' is a str"),
        ('metric: acc\nvariants: [{config: a.py, options: {a: {b: 1}}}]', ConfigTypeError, "option 'a' is a mapping"),
        ('metric: acc\nseeds: [a]\nvariants: [{config: a.py}]', ConfigTypeError, r"seeds=\['a'\] are not integers"),
        ('metric: acc\ntrain_args: [--amp]\nvariants: [{config: a.py}]', ConfigTypeError, 'train_args=.* is not text'),
        ('metric: acc\nteacher: t.py\nvariants: [{config: a.py}]', ConfigTypeError, "teacher is 't.py', a str"),
        ('metric: acc\nvariants: [{config: a.py}, {config: a.py}]', ConfigValueError, "the same name, 'a' and 'a'"),
    ],
)
def test_wrong_file_is_one_sentence(tmp_path: Path, text: str, kind: type[ConfigError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        load_comparison(write_comparison(tmp_path, text))
    assert str(caught.value).startswith(('comparison ', str(tmp_path)))
    assert '\n' not in str(caught.value)


def test_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileNotFoundError, match=r"none\.yml' does not exist"):
        load_comparison(tmp_path / 'none.yml')


def test_values_become_options(tmp_path: Path) -> None:
    options = '{a: 1, b: true, c: null, d: [1, 2], e: text, f: 0.5}'
    path = write_comparison(tmp_path, f'metric: acc\nvariants: [{{config: a.py, options: {options}}}]\n')
    assert load_comparison(path).variants[0].options == ('a=1', 'b=True', 'c=None', 'd=[1,2]', 'e=text', 'f=0.5')


def test_results_are_json_lines(tmp_path: Path) -> None:
    append_result(tmp_path / 'results.jsonl', dict(variant='a'))
    assert json.loads((tmp_path / 'results.jsonl').read_text()) == dict(variant='a')
