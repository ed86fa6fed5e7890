"""Files are complete or absent, and files of JSON lines survive a crash."""

import errno
import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lckd_mm.analysis.plotting import new_figure, save_figure
from lckd_mm.atomic_files import check_overwriting, open_atomically, replacing, write_text
from lckd_mm.checkpoint import load_data, save_data
from lckd_mm.errors import ConfigValueError, FileWriteError
from lckd_mm.json_lines import append_json_line, read_json_lines

from .helpers.processes import run_forked


def _write_and(end: Callable[[], None], path: Path) -> None:
    with open_atomically(path, 'w') as file:
        file.write('new' * 10_000)
        file.flush()
        end()


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize('error', [ValueError('x'), KeyboardInterrupt(), SystemExit(143)], ids=repr)
def test_an_interrupted_write_leaves_the_previous_content_and_no_other_file(
    error: BaseException, tmp_path: Path
) -> None:
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(type(error)):
        _write_and(lambda: _raise(error), path)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_the_previous_content_and_the_next_write_succeeds(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    path.write_text('old')
    status = run_forked(lambda: _write_and(lambda: os.kill(os.getpid(), signal.SIGKILL), path))
    assert status == -signal.SIGKILL
    assert path.read_text() == 'old'
    assert [each.name for each in tmp_path.iterdir() if each != path] == ['a.txt.tmp']
    write_text(path, 'new')
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_at_the_same_time_take_turns(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    threads = [threading.Thread(target=write_text, args=(path, letter * 100_000)) for letter in 'abcdefgh']
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(path.read_text())) == 1
    assert len(path.read_text()) == 100_000
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    target, link = tmp_path / 'target', tmp_path / 'link'
    target.write_text('old')
    target.chmod(0o600)
    link.symlink_to(target)
    write_text(link, 'new')
    assert link.is_symlink()
    assert target.read_text() == 'new'
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_devices_are_written_directly(capfd: pytest.CaptureFixture) -> None:
    write_text('/dev/null', 'text')
    write_text('/dev/stdout', 'text')
    assert capfd.readouterr().out == 'text'
    assert not Path('/dev/null.tmp').exists()


WRITERS: dict[str, Callable[[Path], Any]] = {
    'checkpoint.pth': lambda path: save_data(dict(weight=torch.zeros(100_000)), path),
    'figure.png': lambda path: save_figure(new_figure()[0], path),
    'results.jsonl': lambda path: append_json_line(path, dict(text='x' * 20_000)),
    'text.txt': lambda path: write_text(path, 'x' * 20_000),
}


def _write_with_limit(write: Callable[[Path], Any], path: Path, limit: int, report: Path) -> None:
    """Write on a file system without space: no file may be larger than the limit."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        write(path)
    except FileWriteError as error:
        report.write_text(str(error))


@pytest.mark.parametrize('name', WRITERS)
def test_a_full_disk_is_reported_in_one_sentence_and_nothing_is_lost(name: str, tmp_path: Path) -> None:
    path, report = tmp_path / 'files' / name, tmp_path / 'report'
    path.parent.mkdir()
    path.write_text('{"seed": 0}\n{"seed": 1')
    run_forked(lambda: _write_with_limit(WRITERS[name], path, 10_000, report))
    sentence = report.read_text()
    assert sentence.startswith(f"'{path}' cannot be written (")
    assert 'MiB are free in' in sentence
    assert '\n' not in sentence
    assert path.read_text().startswith('{"seed": 0}\n')
    assert list(path.parent.iterdir()) == [path]
    # It succeeds as soon as there is space.
    WRITERS[name](path)
    assert path.stat().st_size > 10_000


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / 'none' / 'a.txt', 'x')
    with pytest.raises(OSError, match='input/output') as failure, replacing(tmp_path / 'a.txt'):
        raise OSError(errno.EIO, 'input/output')
    assert not isinstance(failure.value, FileWriteError)


def test_an_unfinished_line_is_named_and_replaced_by_the_next(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / 'results.jsonl'
    full = b'{"seed": 0, "variant": "\xc3\xa4"}\n{"seed": 1}\n'
    for cut in range(len(full) + 1):
        path.write_bytes(full[:cut])
        num_complete = sum(cut >= end for end in (full.index(b'\n'), len(full) - 1))
        assert [record['seed'] for record in read_json_lines(path)] == list(range(num_complete))
        note = capsys.readouterr().err
        assert bool(note) == (full[:cut].split(b'\n')[num_complete:] not in ([], [b'']))
        append_json_line(path, dict(seed=9))
        assert [record['seed'] for record in read_json_lines(path)] == [*range(num_complete), 9]
        assert not capsys.readouterr().err


def test_a_damaged_line_in_the_middle_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / 'results.jsonl'
    path.write_bytes(b'{"seed": 0}\n\x00\x00\x00\n[1]\n{"se\n{"seed": 1}\n')
    assert read_json_lines(path) == [dict(seed=0), dict(seed=1)]


def test_reading_with_mmap_is_the_same(tmp_path: Path) -> None:
    for is_zip in (True, False):
        save_data(dict(weight=torch.arange(3)), tmp_path / 'a.pth', _use_new_zipfile_serialization=is_zip)
        assert load_data(tmp_path / 'a.pth', mmap=True)['weight'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('other', ['link', 'hard', 'folder/../a.pth', 'linked/a.pth'])
def test_an_output_must_not_be_an_input(other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('a.pth').touch()
    Path('folder').mkdir()
    Path('link').symlink_to('a.pth')
    Path('hard').hardlink_to('a.pth')
    Path('linked').symlink_to(tmp_path)
    with pytest.raises(ConfigValueError, match=r"OUT '.*' is the file of CHECKPOINT \('a.pth'\)"):
        check_overwriting('OUT', other, dict(CHECKPOINT='a.pth'))
    check_overwriting('OUT', other, dict(CHECKPOINT='http://host/a.pth', STUDENT=None))
    check_overwriting('OUT', '/dev/null', dict(CHECKPOINT='/dev/null/a.pth'))
