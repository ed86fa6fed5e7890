"""Long work shows its state: on a terminal in one line, in a log by a line per minute."""

import sys

import pytest

from lckd_mm.cli.status import show_status


def test_a_log_receives_a_line_per_minute(capsys: pytest.CaptureFixture) -> None:
    now = [1000.0]
    with show_status('models', clock=lambda: now[0]) as update:
        for second in range(0, 150, 10):
            now[0] = 1000.0 + second
            update(f'after {second} s')
    lines = [line.split(' ', 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ['models', 'after 60 s', 'after 120 s']


def test_without_a_first_text_the_first_update_is_written(capsys: pytest.CaptureFixture) -> None:
    with show_status() as update:
        update('round 1')
        update('round 2')
    assert [line.split(' ', 1)[1] for line in capsys.readouterr().err.splitlines()] == ['round 1']


def test_a_terminal_shows_the_latest_state(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    monkeypatch.setenv('FORCE_COLOR', '1')
    with show_status('models') as update:
        update('round 1')
        update('round 2')
    assert 'round 2' in capsys.readouterr().err


def test_the_state_is_not_part_of_the_output(capsys: pytest.CaptureFixture) -> None:
    with show_status('models'):
        pass
    assert capsys.readouterr().out == ''
