import pytest

from lckd_mm.cli.dispatch import VERBS, main


def test_unknown_verb_is_reported_with_the_nearest(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(['tain'])
    assert end.value.code == 2
    assert "verb 'tain' is unknown" in (error := capsys.readouterr().err)
    assert "did you mean 'train'?" in error


def test_verb_receives_its_arguments(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(['train', '--help'])
    assert end.value.code == 0
    assert '--auto-scale-lr' in (printed := capsys.readouterr().out)
    assert printed.startswith('usage: python -m lckd_mm train')


@pytest.mark.parametrize('option', ['--local-rank=1', '--local_rank=1'])
def test_rank_that_a_launcher_puts_before_the_verb_is_skipped(option: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([option, 'run', '--help'])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith('usage: python -m lckd_mm run')


@pytest.mark.parametrize('arguments', [[], ['--help']])
def test_without_a_verb_all_are_listed(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    main(arguments)
    printed = capsys.readouterr().out
    assert all(f'  {verb} ' in printed for verb in VERBS)


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_describes_its_arguments(verb: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, '--help'])
    assert end.value.code == 0
    assert f'usage: python -m lckd_mm {verb}' in capsys.readouterr().out


def test_unknown_option_is_reported_with_the_nearest(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(['train', 'mine.py', '--resme'])
    assert end.value.code == 2
    assert "did you mean '--resume'?" in capsys.readouterr().err
