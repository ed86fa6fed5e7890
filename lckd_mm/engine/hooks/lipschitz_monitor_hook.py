import csv
from pathlib import Path
from typing import Dict, List

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from .distiller import distiller_of

FIELDS = ('iter', 'loss', 'pair', 'teacher', 'student', 'gap')


@HOOKS.register_module()
class LipschitzMonitorHook(Hook):
    """Log the spectral norms of teacher and student per pair of taps.

    Every ``interval`` iterations the batch means of each pair's two norms go to the log and every configured backend
    (``lipschitz/pair0_teacher``, ``lipschitz/pair0_student``) and, with the gap student - teacher and the bound (their running
    product over the pairs), to ``lipschitz/spectral_norms.csv`` in the work dir; after every epoch and at the end the curves
    are drawn beside it. Of several processes the first one's batch is logged.

    Args:
        interval (int): Iterations between two readings. Defaults to 10.

    Raises:
        ValueError: ``interval`` is not positive, or the distiller has no :class:`LipschitzLoss` to read from.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ValueError(
                f'interval={interval!r} is not positive: give the iterations between two readings, 10 say.'
            )
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Begin the CSV, or of a resumed training cut off what it will write again."""
        if not hasattr(distiller_of(runner, self), 'spectral_norms'):
            raise ValueError(
                'LipschitzMonitorHook reads the norms of a LipschitzDistiller: use that, or drop the hook.'
            )
        self._folder = Path(runner.work_dir) / 'lipschitz'
        self._begin(runner.iter)

    @master_only
    def _begin(self, iteration: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = (
            [row for row in read_norms(self._csv) if row['iter'] <= iteration]
            if iteration and self._csv.exists()
            else []
        )
        with self._csv.open('w', newline='') as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)

    @property
    def _csv(self) -> Path:
        return self._folder / 'spectral_norms.csv'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Read the norms of the iteration."""
        if runner.iter and not self.every_n_train_iters(runner, self.interval):
            return
        rows = []
        for loss, norms in distiller_of(runner, self).spectral_norms.items():
            bound = {'teacher': 1.0, 'student': 1.0}
            for pair, (teacher, student) in enumerate(zip(*(norms[s].float().mean(1).tolist() for s in bound))):
                rows.append(self._row(runner, loss, pair, teacher, student))
                bound = {'teacher': bound['teacher'] * teacher, 'student': bound['student'] * student}
                for side, value in (('teacher', teacher), ('student', student)):
                    runner.message_hub.update_scalar(f'train/lipschitz/pair{pair}_{side}', value)
            rows.append(self._row(runner, loss, 'bound', bound['teacher'], bound['student']))
        self._append(rows)

    @staticmethod
    def _row(runner: Runner, loss: str, pair: object, teacher: float, student: float) -> Dict:
        gap = student - teacher
        return dict(iter=runner.iter + 1, loss=loss, pair=pair, teacher=teacher, student=student, gap=gap)

    @master_only
    def _append(self, rows: List[Dict]) -> None:
        with self._csv.open('a', newline='') as file:
            csv.DictWriter(file, FIELDS).writerows(rows)

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw what there is."""
        self._draw()

    def after_train(self, runner: Runner) -> None:
        """Draw the whole training."""
        self._draw()

    @master_only
    def _draw(self) -> None:
        draw_norms(read_norms(self._csv), self._folder / 'spectral_norms.png')


def read_norms(path: Path) -> List[Dict]:
    """The rows of a ``spectral_norms.csv``; a last line that was cut off is left out."""
    rows = []
    with Path(path).open(newline='') as file:
        for row in csv.DictReader(file):
            if row['gap'] is None:
                break
            rows.append({**row, 'iter': int(row['iter']), **{k: float(row[k]) for k in ('teacher', 'student', 'gap')}})
    return rows


def plot_norms(axes: List, rows: List[Dict]) -> None:
    """One panel for each pair, the bound last: the teacher's and the student's norm over the iterations."""
    for axis, pair in zip(axes, dict.fromkeys(row['pair'] for row in rows)):
        chosen = [row for row in rows if row['pair'] == pair]
        iterations = [row['iter'] for row in chosen]
        axis.plot(iterations, [row['teacher'] for row in chosen], color='black', linestyle='--', label='teacher')
        axis.plot(iterations, [row['student'] for row in chosen], color='tab:orange', label='student')
        axis.set_title('bound (product)' if pair == 'bound' else f'taps {int(pair)} to {int(pair) + 1}', fontsize=10)
        axis.set_xlabel('iteration')
        axis.grid(alpha=0.3)
        # The product spans decades.
        if pair == 'bound' and min(row[side] for row in chosen for side in ('teacher', 'student')) > 0:
            axis.set_yscale('log')
    axes[0].set_ylabel('spectral norm')
    axes[0].legend(fontsize=8)


def draw_norms(rows: List[Dict], path: Path) -> None:
    """Draw :func:`plot_norms` into a PNG; without rows nothing is drawn."""
    if not rows:
        return
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    rows = [row for row in rows if row['loss'] == rows[0]['loss']]
    n_panels = len({row['pair'] for row in rows})
    figure, axes = plt.subplots(1, n_panels, figsize=(3.2 * n_panels, 3), squeeze=False, layout='constrained')
    plot_norms(list(axes[0]), rows)
    figure.savefig(path, dpi=120)
    plt.close(figure)
