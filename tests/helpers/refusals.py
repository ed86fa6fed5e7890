"""Wrong configs and command lines, run in this process as a user gives them."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from lckd_mm.cli import dispatch
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import classifier, distillation_config
from tests.helpers.tiny_configs import write_images

VOC_ANNOTATION = """<annotation><size><width>64</width><height>64</height></size>
<object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def base_config(root: Path) -> dict[str, Any]:
    """Return a distillation of a tiny classifier, with validation, that trains in a second."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    loader: dict[str, Any] = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='CustomDataset', data_root=str(root), data_prefix='train', pipeline=pipeline),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    return dict(
        default_scope='mmpretrain',
        model=dict(distillation_config(), teacher_ckpt=str(root / 'teacher.pth'), allow_random_teacher=False),
        train_dataloader=loader,
        val_dataloader=copy.deepcopy(loader),
        test_dataloader=copy.deepcopy(loader),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        test_evaluator=dict(type='Accuracy', topk=(1,)),
        train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
        val_cfg=dict(),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook', interval=1)
        ),
    )


def write_workspace(root: Path) -> None:
    """Write images, a VOC set with one image, checkpoints, and a work directory with a checkpoint that must not be overwritten."""
    write_images(root)
    for folder in ('JPEGImages', 'Annotations', 'lists', 'empty', 'work'):
        (root / folder).mkdir()
    cv2.imwrite(str(root / 'JPEGImages' / 'first.jpg'), np.zeros((64, 64, 3), np.uint8))
    (root / 'Annotations' / 'first.xml').write_text(VOC_ANNOTATION)
    (root / 'lists' / 'train.txt').write_text('first\n')
    (root / 'lists' / 'empty.txt').write_text('')
    torch.manual_seed(0)
    state = build_model(classifier()).state_dict()
    torch.save(dict(state_dict=state, meta={}), root / 'teacher.pth')
    torch.save(dict(state_dict=build_model(classifier(base_channels=8)).state_dict(), meta={}), root / 'wide.pth')
    torch.save(dict(state_dict=state, meta={}), root / 'work' / 'epoch_1.pth')
    (root / 'text.pth').write_text('not a checkpoint')
    (root / 'empty.pth').write_text('')


def write_case(root: Path, changes: Mapping[str, Any]) -> Path:
    """Write the config with changes by dotted key; ``...`` removes a key."""
    cfg = base_config(root)
    for key, value in copy.deepcopy(dict(changes)).items():
        *parents, last = key.split('.')
        target = cfg
        for parent in parents:
            target = target.setdefault(parent, {})
        if value is ...:
            del target[last]
        else:
            target[last] = value
    # A Runner copies the config to its work directory.
    path = root / f'{hashlib.sha256(repr(changes).encode()).hexdigest()[:16]}.py'
    Config(cfg).dump(str(path))
    return path


def digest(root: Path) -> dict[str, str]:
    """Return a hash of each file in a folder by its path, without the logs, which trainings of the same second share."""
    files = [path for path in root.rglob('*') if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if '/work/2' not in str(path)}


@dataclass
class Ending:
    """How a command ends.

    Attributes:
        status: The exit status.
        output: The standard output.
        errors: The standard error.
    """

    status: Any
    output: str
    errors: str


def run_command(arguments: Sequence[str], capsys: pytest.CaptureFixture) -> Ending:
    """Run ``lckd-mm ARGUMENTS`` in this process."""
    capsys.readouterr()
    status: Any = 0
    # A process has one default scope, which a Runner sets.
    with DefaultScope.overwrite_default_scope(None):
        try:
            dispatch.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
    # The handlers write to streams that end with the test.
    for logger in MMLogger._instance_dict.values():
        logger.handlers.clear()
    MMLogger._instance_dict.clear()
    captured = capsys.readouterr()
    return Ending(status, captured.out, captured.err)


def check_refusal(arguments: Sequence[Any], words: Sequence[str], root: Path, capsys: pytest.CaptureFixture) -> None:
    """Check that a command ends with one sentence that contains all words, and leaves all existing files as they are."""
    before = digest(root)
    ending = run_command([str(argument).replace('ROOT', str(root)) for argument in arguments], capsys)
    assert ending.status == 2, ending
    lines = [line for line in ending.errors.strip().splitlines() if not line.startswith('Downloading: ')]
    assert len(lines) == 1, ending.errors
    assert 'Traceback' not in ending.output
    for word in words:
        assert word.replace('ROOT', str(root)) in lines[0], lines[0]
    # A sentence, with a reference to the help text for errors of arguments.
    assert lines[0].endswith(('.', '?', ')')), lines[0]
    after = digest(root)
    assert [path for path in before if after.get(path) != before[path]] == []


def training(config: Path, root: Path, *arguments: str) -> list[str]:
    """Return the command of a training in the work directory of the workspace."""
    # mmengine has one logger for each name in a process.
    name = hashlib.sha256(config.read_bytes() + repr(arguments).encode()).hexdigest()[:16]
    return [
        'train',
        str(config),
        '--work-dir',
        str(root / 'work'),
        *arguments,
        '--cfg-options',
        f'experiment_name={name}',
    ]
