"""The help texts of all verbs and tools, and their examples."""

import argparse
import importlib
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lckd_mm.analysis.configs import load_config
from lckd_mm.cli.dispatch import VERBS, usage
from lckd_mm.cli.parser import VerbParser
from tests.helpers.tools import ROOT

TOOLS = {
    path: re.search(r'from lckd_mm\.cli\.(\w+) import main', path.read_text()) for path in ROOT.glob('tools/**/*.py')
}
# The command of each program, and its module in `lckd_mm.cli`.
PROGRAMS = {f'lckd-mm {verb}': verb for verb in VERBS} | {
    f'python {path.relative_to(ROOT)}': match[1] for path, match in sorted(TOOLS.items()) if match
}


class ParsedError(Exception):
    """Ends a program when its arguments are parsed."""

    def __init__(self, parser: VerbParser, namespace: argparse.Namespace) -> None:
        self.parser = parser
        self.namespace = namespace


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Return what a program parses from its arguments, without running it."""
    original = VerbParser.parse

    def parse_only(self: VerbParser, arguments: list[str]) -> None:
        raise ParsedError(self, original(self, arguments))

    monkeypatch.setattr(VerbParser, 'parse', parse_only)

    def parse(program: str, arguments: list[str]) -> ParsedError:
        with pytest.raises(ParsedError) as parsed:
            importlib.import_module(f'lckd_mm.cli.{PROGRAMS[program]}').main(arguments, program)
        return parsed.value

    return parse


def help_text(program: str, capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f'lckd_mm.cli.{PROGRAMS[program]}').main(['--help'], program)
    assert end.value.code == 0
    return capsys.readouterr().out


def example_lines(text: str) -> list[str]:
    return text.partition('\nexamples:\n')[2].splitlines()


def split_example(program: str, line: str) -> list[str]:
    """Return the arguments of a program in a command line, which may start it in several processes."""
    command = line.partition(' > ')[0].strip()
    launcher = r'torchrun --nproc_per_node=2 -m lckd_mm \w+'
    arguments, number = re.subn(rf'^(?:{re.escape(program)}|{launcher})(?= |$)', '', command)
    assert number == 1, line
    return shlex.split(arguments)


def config_path(name: str) -> Path:
    package, _, path = name.rpartition('::')
    if package in ('', 'lckd_mm'):
        return ROOT / (f'configs/{path}' if package else path)
    return Path(importlib.import_module(package).__file__).parent / '.mim' / 'configs' / path


@pytest.mark.parametrize('program', PROGRAMS)
def test_help_text_has_a_usage_a_description_and_examples(program: str, capsys: pytest.CaptureFixture) -> None:
    text = help_text(program, capsys)
    assert re.match(rf'usage: {re.escape(program)}\s', text)
    assert re.search(r'\n\n[A-Z][^\n]+\.\n', text)
    lines = example_lines(text)
    assert lines
    assert len(lines) % 2 == 0
    assert all(line.startswith('  # ') for line in lines[::2])
    assert '{' not in ''.join(lines)


@pytest.mark.parametrize('program', PROGRAMS)
def test_arguments_of_examples_are_accepted(program: str, capsys: pytest.CaptureFixture, parse: Callable) -> None:
    lines = example_lines(help_text(program, capsys))[1::2]
    for line in lines:
        args = parse(program, split_example(program, line)).namespace
        if getattr(args, 'cfg_options', None):
            load_config(args.config, args.cfg_options)


@pytest.mark.parametrize('program', PROGRAMS)
def test_files_in_help_texts_exist(program: str, capsys: pytest.CaptureFixture) -> None:
    text = help_text(program, capsys)
    for name in re.findall(r'\w+::[\w./-]+\.py|(?:configs|tools|docs)/[\w./-]+\.(?:py|yml|md)', text):
        assert config_path(name).is_file(), name


def test_checkpoints_in_examples_are_the_last_of_their_trainings(capsys: pytest.CaptureFixture) -> None:
    text = '\n'.join(help_text(program, capsys) for program in PROGRAMS)
    checkpoints = set(re.findall(r'work_dirs/(\w+)/epoch_(\d+)\.pth', text))
    assert checkpoints
    for name, epoch in checkpoints:
        assert load_config(f'lckd_mm::demo/{name}.py').train_cfg.max_epochs == int(epoch)


@pytest.mark.parametrize('program', PROGRAMS)
def test_every_argument_is_described_and_written_in_the_same_style(
    program: str, capsys: pytest.CaptureFixture, parse: Callable
) -> None:
    line = example_lines(help_text(program, capsys))[1]
    for action in parse(program, split_example(program, line)).parser._actions:
        assert action.help, action.dest
        if action.nargs != 0 and not action.choices:
            names = action.metavar if isinstance(action.metavar, tuple) else [action.metavar or action.dest.upper()]
            assert all(re.match(r'^[A-Z]', name) for name in names), action.dest
        if action.default not in (None, False, argparse.SUPPRESS, ()) and action.dest != 'local_rank':
            assert '(default: ' in action.help, action.dest


def test_overview_names_its_program_and_all_verbs() -> None:
    text = usage('python -m lckd_mm')
    assert text.startswith('usage: python -m lckd_mm VERB')
    assert 'lckd-mm' not in text
    assert all(f'\n  {verb} ' in text for verb in VERBS)
    for line in example_lines(text):
        assert line.split()[3] in {*VERBS, 'help'}


def test_scripts_describe_themselves_without_doing_anything() -> None:
    for path in sorted(ROOT.glob('tools/*.sh')):
        if path.name == 'dist_common.sh':
            continue
        done = subprocess.run(['bash', path, '--help'], capture_output=True, text=True, timeout=20, check=True)
        assert f'bash tools/{path.name}' in done.stdout.replace(str(ROOT / 'tools'), 'tools'), path.name
        assert done.stderr == ''


@pytest.mark.parametrize(
    'path',
    [path for path, match in sorted(TOOLS.items()) if not match and path.name != 'sitecustomize.py'],
    ids=lambda path: path.name,
)
def test_tools_for_developers_describe_themselves(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr('sys.argv', [str(path), '--help'])
    monkeypatch.setattr('sys.path', list(sys.path))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name='__main__')
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: {path.name}')
