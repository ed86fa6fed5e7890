from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from lckd_mm.engine.norm_log import NormRow, append_norms, draw_norms, plot_norms, read_norms, write_norms


def _row(iteration: int, pair: str, teacher: float = 3.0, loss: str = 'loss_lipschitz') -> NormRow:
    return NormRow(iter=iteration, loss=loss, pair=pair, teacher=teacher, student=1.5, gap=1.5 - teacher)


def test_written_and_appended_rows_are_read_back(tmp_path: Path) -> None:
    rows = [_row(1, '0'), _row(1, 'bound'), _row(10, '0', teacher=0.1)]
    write_norms(tmp_path / 'norms.csv', rows[:2])
    append_norms(tmp_path / 'norms.csv', rows[2:])
    assert read_norms(tmp_path / 'norms.csv') == rows


def test_an_incomplete_last_line_is_omitted(tmp_path: Path) -> None:
    path = tmp_path / 'norms.csv'
    write_norms(path, [_row(1, '0'), _row(2, '0')])
    text = path.read_bytes()
    # A part of the last number, or of the end of the line, is incomplete as well.
    for cut in range(text.rindex(b'2,'), len(text)):
        path.write_bytes(text[:cut])
        assert read_norms(path) == [_row(1, '0')]


def test_the_bound_has_a_logarithmic_axis_unless_it_is_zero() -> None:
    for teacher, scale in ((3.0, 'log'), (0.0, 'linear')):
        axes = Figure().subplots(1, 2)
        plot_norms(axes, [_row(1, '0', teacher), _row(1, 'bound', teacher)])
        assert [axis.get_yscale() for axis in axes] == ['linear', scale]
        assert [axis.get_title() for axis in axes] == ['taps 0 to 1', 'bound (product)']


def test_the_plot_shows_the_first_loss_and_leaves_the_backend_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mpl.rcParams, 'backend', 'svg')
    draw_norms([_row(1, '0'), _row(1, '0', loss='loss_other')], str(tmp_path / 'norms.png'))
    assert (tmp_path / 'norms.png').stat().st_size > 5_000
    assert mpl.rcParams['backend'] == 'svg'


def test_without_rows_no_plot_is_written(tmp_path: Path) -> None:
    draw_norms([], tmp_path / 'norms.png')
    assert not list(tmp_path.iterdir())
