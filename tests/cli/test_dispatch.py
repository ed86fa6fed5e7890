from pathlib import Path

import pytest

from lckd_mm.cli.dispatch import VERBS, main, needs_dependencies
from lckd_mm.version import __version__


def end_of(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    """Return the sentence with which a wrong command line ends."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    output = capsys.readouterr()
    assert output.out == ''
    assert len(output.err.splitlines()) == 1
    return output.err.strip()


@pytest.mark.parametrize('verb', ['tain', 'tran', 'Train', 'TRAIN', 'trains'])
def test_unknown_verb_is_reported_with_the_nearest(verb: str, capsys: pytest.CaptureFixture) -> None:
    for arguments in ([verb], [verb, 'mine.py', '--amp'], ['help', verb]):
        error = end_of(arguments, capsys)
        assert error.startswith(f"verb '{verb}' is unknown; valid: 'distill', 'train', ")
        assert error.endswith("did you mean 'train'?")


@pytest.mark.parametrize(
    ('arguments', 'command'),
    [
        (['--amp', 'train', 'mine.py'], 'train mine.py --amp'),
        (['--amp', '--resume', 'train', 'mine.py'], 'train mine.py --amp --resume'),
        (['--cfg-options', 'a=1', 'train', 'mine.py'], 'train mine.py --cfg-options a=1'),
        (['--amp', 'mine.py'], 'VERB mine.py --amp'),
        (['configs/mine.py', '--amp'], 'train configs/mine.py --amp'),
        (['lckd_mm::voc/mine.py'], 'train lckd_mm::voc/mine.py'),
        (['my file.py'], "train 'my file.py'"),
        (['mine.yml', '--out', 'there'], 'compare mine.yml --out there'),
        (['train', 'train', 'mine.py'], 'train mine.py'),
        (['run', 'run', 'mine.py'], 'run mine.py'),
    ],
)
def test_wrong_order_is_reported_with_the_command_to_write(
    arguments: list[str], command: str, capsys: pytest.CaptureFixture
) -> None:
    assert end_of(arguments, capsys).endswith(f': write `lckd-mm {command}`.')


def test_unknown_option_without_a_verb_is_reported_with_the_nearest(capsys: pytest.CaptureFixture) -> None:
    assert end_of(['--versoin'], capsys).endswith("did you mean '--version'?")


@pytest.mark.parametrize('verb', VERBS)
def test_unknown_option_of_every_verb_is_reported_with_the_nearest(verb: str, capsys: pytest.CaptureFixture) -> None:
    # Required arguments are missing as well.
    error = end_of([verb, '--hlp'], capsys)
    assert error.startswith("option '--hlp' is unknown")
    assert "did you mean '--help'" in error
    assert error.endswith(f'(lckd-mm {verb} --help lists the arguments)')


def test_a_file_may_have_the_name_of_a_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'export').write_bytes(b'no checkpoint')
    assert 'twice' not in end_of(['export', 'export', 'student.pth'], capsys)


def test_verb_receives_its_arguments(capsys: pytest.CaptureFixture) -> None:
    texts = []
    for arguments in (['train', '--help'], ['train', '-h'], ['help', 'train']):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0].startswith('usage: lckd-mm train')
    assert '--auto-scale-lr' in texts[0]
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize('option', ['--local-rank=1', '--local_rank=1'])
def test_rank_that_a_launcher_puts_before_the_verb_is_skipped(option: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([option, 'run', '--help'], 'python -m lckd_mm')
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith('usage: python -m lckd_mm run')


@pytest.mark.parametrize('arguments', [[], ['--help'], ['-h'], ['help'], ['help', '--help']])
def test_without_a_verb_all_are_listed(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    main(arguments)
    printed = capsys.readouterr().out
    assert all(f'  {verb} ' in printed for verb in VERBS)


@pytest.mark.parametrize('option', ['--version', '-V'])
def test_version_is_printed(option: str, capsys: pytest.CaptureFixture) -> None:
    main([option])
    assert capsys.readouterr().out == f'lckd_mm {__version__}\n'


@pytest.mark.parametrize('verb', [verb for verb in VERBS if verb != 'env'])
def test_verbs_need_the_dependencies_however_they_are_started(verb: str) -> None:
    assert needs_dependencies(['-m', verb], ['python', '-u', '-m', 'lckd_mm', verb])
    assert needs_dependencies(['/bin/lckd-mm', verb, '--help'], ['python', '/bin/lckd-mm', verb, '--help'])
    assert needs_dependencies(['/bin/lckd-mm', 'help', verb], ['python', '/bin/lckd-mm', 'help', verb])


@pytest.mark.parametrize(
    'arguments', [[], ['--help'], ['--version'], ['env'], ['help', 'env'], ['tran', 'mine.py'], ['mine.py']]
)
def test_help_and_messages_need_no_dependencies(arguments: list[str]) -> None:
    assert not needs_dependencies(['-m', *arguments], ['python', '-m', 'lckd_mm', *arguments])
    assert not needs_dependencies(['/bin/lckd-mm', *arguments], ['python', '/bin/lckd-mm', *arguments])
    # Other programs, one of which multiprocessing has spawned.
    assert needs_dependencies(['-m', *arguments], ['python', '-m', 'theirs', *arguments])
    assert needs_dependencies(['/bin/theirs', *arguments], ['python', '/bin/theirs', *arguments])
    assert needs_dependencies(['/bin/lckd-mm', *arguments], ['python', '-c', 'spawn_main()', '--multiprocessing-fork'])
