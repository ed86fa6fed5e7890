import argparse

import pytest

from lckd_mm.cli.options_action import OptionsAction
from lckd_mm.cli.parser import VerbParser


@pytest.fixture
def parser() -> VerbParser:
    parser = VerbParser('lckd-mm verb', 'Describe.', {'two seeds': '{prog} mine.py --seeds 2'})
    parser.add_argument('config', metavar='CONFIG')
    parser.add_argument('--train-args')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction)
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int)
    parser.add_argument_group().add_argument('--report-only', action='store_true')
    return parser


def error_of(parser: VerbParser, capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        parser.parse(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert '(lckd-mm verb --help lists the arguments)' in error
    return error


@pytest.mark.parametrize(
    ('option', 'nearest'),
    [
        ('--sedes', '--seeds'),
        ('--SEEDS', '--seeds'),
        ('-seeds', '--seeds'),
        ('--cfg_options', '--cfg-options'),
        # An argument of a group.
        ('--reprt-only', '--report-only'),
    ],
)
@pytest.mark.parametrize('value', [(), ('=3',), ('3',)])
@pytest.mark.parametrize('config', [(), ('mine.py',)])
def test_unknown_option_is_reported_with_the_nearest(
    option: str, nearest: str, value: tuple, config: tuple, parser: VerbParser, capsys: pytest.CaptureFixture
) -> None:
    if option == '-seeds' and not config:
        config = ('mine.py',)
    arguments = [option + value[0]] if value and value[0].startswith('=') else [option, *value]
    error = error_of(parser, capsys, *config, *arguments)
    assert error.startswith(f'option {option!r} is unknown')
    assert f'did you mean {nearest!r}?' in error


def test_abbreviations_are_accepted_unless_they_are_ambiguous(
    parser: VerbParser, capsys: pytest.CaptureFixture
) -> None:
    args = parser.parse(['mine.py', '--cfg', 'a=1', '--rep', '--see=3'])
    assert (args.cfg_options, args.report_only, args.seeds) == ({'a': 1}, True, 3)
    assert 'ambiguous option: --l could match --launcher, --local_rank' in error_of(
        parser, capsys, 'mine.py', '--l', '1'
    )


def test_missing_and_surplus_arguments_are_reported(parser: VerbParser, capsys: pytest.CaptureFixture) -> None:
    assert 'required: CONFIG' in error_of(parser, capsys)
    assert "argument 'yours.py' is not expected" in error_of(parser, capsys, 'mine.py', 'yours.py')
    error = error_of(parser, capsys, '--cfg-options', 'a=1', 'mine.py')
    assert "'mine.py' is not KEY=VALUE: write KEY=VALUE, and other arguments before this one" in error


def test_values_that_start_with_a_dash_are_accepted_after_an_equals_sign(
    parser: VerbParser, capsys: pytest.CaptureFixture
) -> None:
    assert parser.parse(['mine.py', '--train-args=--amp']).train_args == '--amp'
    assert parser.parse(['mine.py', '--train-args', '--amp --channels-last']).train_args == '--amp --channels-last'
    error = error_of(parser, capsys, 'mine.py', '--train-args', '--amp')
    assert error.startswith('argument --train-args: ')
    assert '--train-args=--amp' in error


def test_arguments_of_another_program_are_not_checked() -> None:
    parser = VerbParser()
    parser.add_argument('script')
    parser.add_argument('arguments', nargs=argparse.REMAINDER)
    assert parser.parse(['train.py', '--their-option', '--', '-x']).arguments == ['--their-option', '--', '-x']


def test_arguments_after_two_dashes_are_no_options(parser: VerbParser) -> None:
    assert parser.parse(['--', '--mine.py']).config == '--mine.py'


def test_examples_name_the_program(parser: VerbParser) -> None:
    assert parser.format_help().endswith('\nexamples:\n  # two seeds\n  lckd-mm verb mine.py --seeds 2\n')
