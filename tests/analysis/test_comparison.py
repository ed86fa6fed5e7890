import json
from pathlib import Path

import pytest

from lckd_mm.analysis.comparison import Teacher
from lckd_mm.analysis.comparison_file import find_teacher_checkpoint, load_comparison
from lckd_mm.analysis.comparison_results import append_result, read_results
from lckd_mm.analysis.comparison_runs import train_teacher
from lckd_mm.cli.compare import main
from lckd_mm.errors import (
    ConfigError,
    ConfigFileNotFoundError,
    ConfigRuntimeError,
    ConfigTypeError,
    ConfigValueError,
)
from tests.helpers.fake_training import install_fake_training


@pytest.fixture(autouse=True)
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_training(tmp_path, monkeypatch)


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


def results_of(out: Path) -> dict[tuple[str, int], dict]:
    return {(r['variant'], r['seed']): r for r in read_results(out / 'results.jsonl')}


def test_comparison_trains_what_is_missing_and_reports_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'out'

    def compare(*arguments: str) -> str:
        main([write_comparison(tmp_path, COMPARISON), '--out', str(out), '--jobs', '2', *arguments])
        return capsys.readouterr().out

    printed = compare()
    results = results_of(out)
    assert sorted(results) == [('better', 0), ('better', 2), ('plain', 0), ('plain', 2)]
    result = results['better', 2]
    assert result['select'] == dict(split='val', steps=[1, 2, 3], values=[26, 27, 28], last=28, best=28)
    # The evaluation of the last checkpoint on the test images.
    assert result['report'] == dict(split='test', value=128, options=[])
    assert result['seconds_per_iteration'] == 0.5
    assert result['last_losses'] == {'loss': 0.5, 'distill.loss': 0.1}
    assert 'Selected on val, reported on test: different data.' in printed
    # 103 and 123; better by 5 with every seed.
    table = (out / 'table.md').read_text()
    assert '| plain | 2 | 113.00 ± 14.14 | 0.500 |' in table
    assert (
        '- better helps compared with plain: +5.00 points of acc (95 % interval +5.00 to +5.00, 2 seeds, p < 0.001).'
        in table
    )
    # Existing results are not trained again, and nothing is trained with --report-only.
    assert 'seed 1' in compare('--seeds', '0', '1', '2')
    assert len(read_results(out / 'results.jsonl')) == 6
    assert 'Not finished: plain, seed 7; better, seed 7.' in compare('--seeds', '7', '--report-only')
    assert len(read_results(out / 'results.jsonl')) == 6


def test_variants_can_be_arguments(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    main(['plain: a.py', 'a.py gain=5', '--metric', 'acc', '--seeds', '1', '--out', str(out), '--train-args=--amp'])
    values = [(r['variant'], r['report']['value']) for r in read_results(out / 'results.jsonl')]
    assert values == [('plain', 113), ('a gain=5', 118)]


def test_one_failed_training_leaves_the_other_results(tmp_path: Path) -> None:
    arguments = ('bad: a.py broken=1', 'good: a.py', '--seeds', '0', '--metric', 'acc', '--out', str(tmp_path / 'out'))
    with pytest.raises(ConfigRuntimeError, match=r'failed: bad, seed 0: it is broken \(complete log: .*train.log\)'):
        main(arguments)
    (result,) = read_results(tmp_path / 'out' / 'results.jsonl')
    assert result['variant'] == 'good'


def test_metric_that_was_not_evaluated_is_reported_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigRuntimeError, match=r"metric 'mIoU' was never evaluated; evaluated metrics: \['acc'\]"):
        main(['a.py', '--seeds', '0', '--metric', 'mIoU', '--out', str(tmp_path / 'out')])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['x: a.py b', '--metric', 'acc'], "variant 'x: a.py b' cannot be read"),
        (['x: a.py', 'x: b.py', '--metric', 'acc'], "two variants have the same name, 'x'"),
        (['a+b: a.py', 'a b: b.py', '--metric', 'acc'], "'a\\+b' and 'a b'"),
        (['a.py'], '--metric is missing'),
        (['a.py', '--metric', 'acc', '--seeds', '0', '1', '0'], r'seeds \[0, 1, 0\] contain a number twice'),
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
        assert 'teacher:' not in capsys.readouterr().out

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
        ('metric: acc\nvariants: [{config: a.py, grid: [1]}]', ConfigTypeError, r'grid=\[1\] is a list'),
        ('metric: acc\nvariants: [{config: a.py, grid: {x: 1}}]', ConfigTypeError, 'grid.x=1 is not a list'),
        ('metric: acc\nvariants: [{config: a.py, inherits_grid: 1}]', ConfigTypeError, '=1 is not a boolean'),
        ('metric: acc\nprimary: a\nvariants: [{config: a.py}]', ConfigTypeError, "primary='a' is not a pair"),
        ('metric: acc\nseeds: [1, 1]\nvariants: [{config: a.py}]', ConfigValueError, 'contains a number twice'),
        ('metric: acc\nscreening: {}\nvariants: [{config: a.py}]', ConfigValueError, "screening has no 'seeds'"),
        ('metric: acc\nscreening: {seed: 1}\nvariants: [{config: a.py}]', ConfigValueError, "'seed' is unknown"),
        ('metric: acc\nreport_on: best\nvariants: [{config: a.py}]', ConfigValueError, "report_on 'best' is unknown"),
        (
            'metric: acc\nreport_on: val\nreport_options: {a: 1}\nvariants: [{config: a.py}]',
            ConfigValueError,
            "report_options has no effect with report_on='val'",
        ),
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
