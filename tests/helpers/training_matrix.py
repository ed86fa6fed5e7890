"""Distillations of a detector, a segmentor and a classifier in many forms of training, each compared with a plain one.

The images come in a fixed order and without random transforms, so that most forms give the losses of the plain training bit by bit.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from lckd_mm.checkpoint import load_data, save_data

from .configs import build_from_config
from .tools import ROOT, free_port, run_tool
from .training_matrix_configs import COLUMNS, distillation_config, teacher_config
from .training_record import digest


class Record(NamedTuple):
    """What a training has written."""

    losses: list[dict[str, float]]
    """The losses of each iteration, averaged over the processes."""

    teachers: set[str]
    """Digests of the teacher, before and after, in all processes."""

    students: set[str]
    """Digests of the trained student in all processes."""

    checkpoint: dict[str, Any]
    """The last checkpoint."""

    memory: list[dict[str, int]]
    """Memory in regular intervals, if it was recorded."""


def train_by_tool(config: Path, work_dir: Path, *arguments: str, processes: int = 1) -> None:
    """Train with ``tools/train.py``, or with ``tools/dist_train.sh`` in several processes."""
    command = ['tools/train.py', config] if processes == 1 else ['bash', 'tools/dist_train.sh', config, processes]
    command += ['--work-dir', work_dir, *arguments]
    run_tool(*command, PORT=str(free_port()), PYTHONPATH=str(ROOT))


class TrainingMatrix:
    """Trainings in a folder, each of which is made once.

    Args:
        folder (Path): Folder of the configs and work directories.
        data (Path): The demonstration set.
        train (Callable): Trains a config, as `train_by_tool` does.
    """

    def __init__(self, folder: Path, data: Path, train: Callable[..., None] = train_by_tool) -> None:
        self.folder, self.data, self.train = folder, data, train

    def check(self, task: str, name: str) -> float:
        """Compare a training with its reference.

        Args:
            task (str): One of `TASKS`.
            name (str): One of `COLUMNS`.

        Returns:
            float: The largest deviation of a loss, relative to it.

        Raises:
            AssertionError: A loss deviates by more than the bound, or the teacher has changed.
        """
        column = COLUMNS[name]
        record = self.record(task, name)
        # The plain training is compared with its repetition.
        reference = self.record(task, column.reference, is_repetition=name == column.reference)
        assert record.teachers == {self._teacher_digest(task)}, 'the teacher has changed'
        assert len(record.students) == 1, 'the processes have different students'
        expected = [losses for losses in reference.losses for _ in range(column.repeats)]
        assert len(record.losses) == len(expected) > 0
        deviation = max(_deviation(*pair) for pair in zip(record.losses, expected))
        assert deviation <= column.bound, f'{task}, {name}: a loss deviates by {deviation:.2g} > {column.bound:g}'
        assert ('ema_state_dict' in record.checkpoint) == (name == 'ema')
        return deviation

    def record(self, task: str, name: str, is_repetition: bool = False) -> Record:
        """Return what a training has written, which is made if it does not exist.

        Args:
            task (str): One of `TASKS`.
            name (str): One of `COLUMNS`.
            is_repetition (bool): Whether to make it once more. Defaults to False.
        """
        column = COLUMNS[name]
        cfg = distillation_config(task, self.data, *self._teacher(task), self._initial(task))
        column.edit(cfg)
        work_dir = self.folder / task / (f'{name}_again' if is_repetition else name)
        return self._record(cfg, work_dir, *column.arguments, processes=column.processes)

    def memory(self, task: str, num_iters: int, interval: int) -> list[dict[str, int]]:
        """Return the memory of a long training in regular intervals.

        Args:
            task (str): One of `TASKS`.
            num_iters (int): Number of iterations.
            interval (int): Iterations between two records: a multiple of 3, the batches of an epoch, which have different numbers of boxes.
        """
        cfg = distillation_config(task, self.data, *self._teacher(task), self._initial(task))
        COLUMNS['iterations'].edit(cfg)
        cfg.train_cfg.update(max_iters=num_iters, val_interval=num_iters)
        cfg.default_hooks.checkpoint.interval = num_iters
        cfg.custom_hooks[0].memory_interval = interval
        return self._record(cfg, self.folder / task / f'memory_{num_iters}').memory

    def _record(self, cfg: Config, work_dir: Path, *arguments: str, processes: int = 1) -> Record:
        files = [work_dir / f'rank{rank}.json' for rank in range(processes)]
        if not all(file.exists() for file in files):
            self._train(cfg, work_dir, *arguments, processes=processes)
        ranks = [json.loads(file.read_text()) for file in files]
        return Record(
            losses=[_mean(losses) for losses in zip(*(rank['losses'] for rank in ranks), strict=True)],
            teachers={each for rank in ranks for each in rank['teacher']},
            students={rank['student'] for rank in ranks},
            checkpoint=load_data((work_dir / 'last_checkpoint').read_text()),
            memory=ranks[0]['memory'],
        )

    def _teacher(self, task: str) -> tuple[Path, Path]:
        """Return config and checkpoint of a teacher, which is trained if it does not exist."""
        work_dir = self.folder / task / 'teacher'
        if not (work_dir / 'epoch_1.pth').exists():
            self._train(teacher_config(task, self.data), work_dir)
        return _config_path(work_dir), work_dir / 'epoch_1.pth'

    def _initial(self, task: str) -> Path:
        """Return a checkpoint of the untrained distillation, which is written if it does not exist."""
        path = self.folder / task / 'initial.pth'
        if not path.exists():
            model = build_from_config(distillation_config(task, self.data, *self._teacher(task)))
            model.init_weights()
            save_data(dict(state_dict=model.state_dict()), path)
        return path

    def _teacher_digest(self, task: str) -> str:
        config, checkpoint = self._teacher(task)
        model = build_from_config(Config.fromfile(config))
        model.load_state_dict(load_data(checkpoint)['state_dict'])
        return digest(model)

    def _train(self, cfg: Config, work_dir: Path, *arguments: str, processes: int = 1) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        # mmengine has one logger and one message hub for each name in a process.
        cfg.experiment_name = str(work_dir).replace('/', '_')
        cfg.dump(_config_path(work_dir))
        self.train(_config_path(work_dir), work_dir, *arguments, processes=processes)


def _config_path(work_dir: Path) -> Path:
    return work_dir.with_name(f'{work_dir.name}_config.py')


def _mean(ranks: tuple[dict[str, float], ...]) -> dict[str, float]:
    return {name: sum(losses[name] for losses in ranks) / len(ranks) for name in ranks[0]}


def _deviation(losses: dict[str, float], expected: dict[str, float]) -> float:
    """Return the largest deviation of a loss, relative to it."""
    assert losses.keys() == expected.keys()
    return max(abs(losses[name] - value) / max(abs(value), 1e-12) for name, value in expected.items())


def check_memory(records: list[dict[str, int]]) -> str:
    """Compare the memory after the first interval, in which buffers are allocated, with that at the end.

    Args:
        records (list[dict[str, int]]): Memory in regular intervals.

    Returns:
        str: The growth.

    Raises:
        AssertionError: The tensors, or the memory of the process by more than 3 %, have grown.
    """
    first, last = records[1], records[-1]
    growth = {name: last[name] - first[name] for name in first}
    text = ', '.join(f'{name} {value:+d}' for name, value in growth.items())
    assert growth['tensors'] <= 0, text
    assert growth['tensor_bytes'] <= 0, text
    # The allocator of the C library keeps free blocks.
    assert growth['resident_bytes'] <= 0.03 * first['resident_bytes'], text
    return text
