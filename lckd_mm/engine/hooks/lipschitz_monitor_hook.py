from pathlib import Path
from typing import Protocol, runtime_checkable

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor

from lckd_mm.engine.distillation import distiller_of
from lckd_mm.engine.norm_log import NormRow, append_norms, draw_norms, read_norms, write_norms
from lckd_mm.errors import ConfigValueError


@runtime_checkable
class _NormReporter(Protocol):
    """The part of a distiller that the hook reads.

    Attributes:
        norm_losses: Names of the losses that compare spectral norms.
        spectral_norms: For each of these losses the latest norms of ``student`` and ``teacher``, each (pairs, batch).
    """

    norm_losses: list[str]
    spectral_norms: dict[str, dict[str, Tensor]]


@HOOKS.register_module()
class LipschitzMonitorHook(Hook):
    """Log the spectral norms of teacher and student for each pair of taps.

    Every ``interval`` iterations the hook logs the batch mean of both norms of each pair. They go to the log and to all
    visualization backends as ``lipschitz/pair0_teacher``, ``lipschitz/pair0_student``, and so on. The file
    ``lipschitz/spectral_norms.csv`` in the work directory also contains the gap (student - teacher) and the bound, which
    is the product over the pairs. After every epoch the curves are drawn to ``lipschitz/spectral_norms.png``. In
    distributed training the norms are those of the first rank's batch.

    If no loss of the distillation compares spectral norms, the hook reports that once and writes nothing.

    Args:
        interval (int): Iterations between two log entries. Defaults to 10.

    Raises:
        ConfigValueError: ``interval`` is not positive. Before training: the distiller does not report spectral norms.

    Example:
        >>> LipschitzMonitorHook(interval=50).interval
        50
    """

    # Before the logger (BELOW_NORMAL) prints the norms.
    priority = 'NORMAL'

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ConfigValueError(
                f'LipschitzMonitorHook: interval={interval!r} is not a number of iterations: use 1 or more.'
            )
        self.interval = interval
        self._is_active = False

    def before_train(self, runner: Runner) -> None:
        """Create the CSV file; for a resumed training, remove the rows that it will write again.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ConfigValueError: The distiller does not report spectral norms.
        """
        self._is_active = bool(self._reporter(runner).norm_losses)
        if not self._is_active:
            runner.logger.info(
                'LipschitzMonitorHook: no loss of this distillation compares spectral norms, so no norms are logged.'
            )
            return
        self._folder = Path(runner.work_dir) / 'lipschitz'
        self._create_csv(runner.iter)

    def _reporter(self, runner: Runner) -> _NormReporter:
        distiller = distiller_of(runner, self)
        if not isinstance(distiller, _NormReporter):
            raise ConfigValueError(
                f'LipschitzMonitorHook requires a distiller that reports spectral norms, but this one is a '
                f'{type(distiller).__name__}: use a LipschitzDistiller, or remove the hook.'
            )
        return distiller

    @master_only
    def _create_csv(self, iteration: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        is_resumed = iteration > 0 and self._csv.exists()
        write_norms(self._csv, [row for row in read_norms(self._csv) if row['iter'] <= iteration] if is_resumed else [])

    @property
    def _csv(self) -> Path:
        return self._folder / 'spectral_norms.csv'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Log the norms of the iteration.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch; not used.
            data_batch (object): The batch; not used.
            outputs (object): The losses; not used.
        """
        # The first iteration is always logged.
        if not self._is_active or (runner.iter and not self.every_n_train_iters(runner, self.interval)):
            return
        rows: list[NormRow] = []
        for loss, norms in self._reporter(runner).spectral_norms.items():
            loss_rows = _norm_rows(runner.iter + 1, loss, norms['teacher'], norms['student'])
            for row in loss_rows[:-1]:
                runner.message_hub.update_scalar(f'train/lipschitz/pair{row["pair"]}_teacher', row['teacher'])
                runner.message_hub.update_scalar(f'train/lipschitz/pair{row["pair"]}_student', row['student'])
            rows.extend(loss_rows)
        self._append(rows)

    @master_only
    def _append(self, rows: list[NormRow]) -> None:
        append_norms(self._csv, rows)

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw the curves of the training so far.

        Args:
            runner (Runner): The runner of the training.
        """
        self._draw()

    def after_train(self, runner: Runner) -> None:
        """Draw the curves of the whole training.

        Args:
            runner (Runner): The runner of the training.
        """
        self._draw()

    @master_only
    def _draw(self) -> None:
        if self._is_active:
            draw_norms(read_norms(self._csv), self._folder / 'spectral_norms.png')


def _norm_rows(iteration: int, loss: str, teacher_norms: Tensor, student_norms: Tensor) -> list[NormRow]:
    """Return one row per pair of taps and, last, the bound."""
    teachers, students = teacher_norms.float().mean(1).tolist(), student_norms.float().mean(1).tolist()
    rows, teacher_bound, student_bound = [], 1.0, 1.0
    for pair, (teacher, student) in enumerate(zip(teachers, students, strict=True)):
        rows.append(_norm_row(iteration, loss, str(pair), teacher, student))
        teacher_bound, student_bound = teacher_bound * teacher, student_bound * student
    return [*rows, _norm_row(iteration, loss, 'bound', teacher_bound, student_bound)]


def _norm_row(iteration: int, loss: str, pair: str, teacher: float, student: float) -> NormRow:
    return NormRow(iter=iteration, loss=loss, pair=pair, teacher=teacher, student=student, gap=student - teacher)
