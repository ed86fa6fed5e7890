"""The configs of docs/your_own_model.md: extracted from the page, and trained."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.utils import import_modules_from_strings
from PIL import Image

from lckd_mm.models.utils import build_model
from tests.helpers.tools import ROOT

PAGE = (ROOT / 'docs' / 'your_own_model.md').read_text()
CONFIGS: dict[str, str] = {
    name: code for code, name in re.findall(r'```python\n(# (my_\w+\.py).*?)```', PAGE, flags=re.DOTALL)
}
# The command of a user, without downloads.
TRAIN = """
import sys
import lckd_mm.__main__ as command
import mmengine.model.weight_init as weight_init
weight_init.PretrainedInit.__call__ = lambda *_: None
command.main(sys.argv[1:])
"""


@pytest.fixture(scope='module')
def folder(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the configs of the page, and data sets of digit scenes in the layouts that the page describes."""
    folder = tmp_path_factory.mktemp('project')
    for name, code in CONFIGS.items():
        (folder / name).write_text(code)
    for split in ('train', 'val'):
        _make_detection_set(scenes, folder / 'data' / 'helmets', split)
        _make_segmentation_set(scenes, folder / 'data' / 'scenes', split)
        shutil.copytree(scenes / 'Crops' / split, folder / 'data' / 'digits' / split)
    for kind in (scenes / 'Crops' / 'train').iterdir():
        if not (folder / 'data' / 'digits' / 'val' / kind.name).exists():
            shutil.copytree(kind, folder / 'data' / 'digits' / 'val' / kind.name)
    return folder


def _names(scenes: Path, split: str) -> list:
    return (scenes / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split()


def _make_detection_set(scenes: Path, out: Path, split: str) -> None:
    (out / 'images').mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index, name in enumerate(_names(scenes, split)):
        shutil.copy(scenes / 'JPEGImages' / f'{name}.jpg', out / 'images')
        images.append(dict(id=index, file_name=f'{name}.jpg', height=160, width=160))
        for element in ElementTree.parse(scenes / 'Annotations' / f'{name}.xml').getroot().iter('object'):
            x1, y1, x2, y2 = (int(element.find('bndbox').findtext(k)) for k in ('xmin', 'ymin', 'xmax', 'ymax'))
            category = 1 if element.findtext('name') in ('zero', 'one', 'two') else 2
            box = dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), iscrowd=0)
            annotations.append(dict(id=len(annotations) + 1, image_id=index, category_id=category, **box))
    categories = [dict(id=1, name='helmet'), dict(id=2, name='head')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (out / f'{split}.json').write_text(json.dumps(content))


def _make_segmentation_set(scenes: Path, out: Path, split: str) -> None:
    for kind in ('img_dir', 'ann_dir'):
        (out / kind / split).mkdir(parents=True)
    for name in _names(scenes, split):
        shutil.copy(scenes / 'JPEGImages' / f'{name}.jpg', out / 'img_dir' / split)
        mask = np.asarray(Image.open(scenes / 'SegmentationClass' / f'{name}.png'))
        low_or_high = np.where(mask == 255, 255, np.where(mask == 0, 0, 1 + (mask > 5))).astype(np.uint8)
        Image.fromarray(low_or_high).save(out / 'ann_dir' / split / f'{name}.png')


def test_page_has_four_configs() -> None:
    assert list(CONFIGS) == ['my_detector.py', 'my_segmentor.py', 'my_classifier.py', 'my_pose.py']


@pytest.mark.training
@pytest.mark.parametrize(
    ('name', 'evaluated', 'options'),
    [
        # The images are smaller and the iterations fewer than on the page.
        (
            'my_detector.py',
            # After so short a training there may be no detections, and then no mAP is computed.
            'Epoch(val)',
            (
                'train_cfg.max_epochs=1',
                'train_dataloader.batch_size=4',
                'train_dataloader.dataset.pipeline.2.scale=(160,160)',
                'val_dataloader.dataset.pipeline.1.scale=(160,160)',
            ),
        ),
        pytest.param(
            'my_segmentor.py',
            'mIoU: ',
            ('train_cfg.max_iters=2', 'train_cfg.val_interval=2'),
            marks=pytest.mark.slow,
        ),
        ('my_classifier.py', 'accuracy/top1: ', ('train_cfg.max_epochs=1',)),
    ],
)
def test_config_trains_as_written(folder: Path, name: str, evaluated: str, options: tuple) -> None:
    cfg = Config.fromfile(folder / name)
    torch.save(dict(state_dict=build_model(cfg.model.teacher).state_dict()), folder / 'teacher.pth')
    loaders = tuple(
        f'{k}_dataloader.{o}' for k in ('train', 'val') for o in ('num_workers=0', 'persistent_workers=False')
    )
    command = [sys.executable, '-W', 'ignore', '-c', TRAIN, 'train', name, '--cfg-options', *options, *loaders]
    command.append('default_hooks.logger.interval=1')
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    log = done.stdout + done.stderr
    assert evaluated in log
    assert 'keys match' in log
    losses = [float(value) for value in re.findall(r'distill\.loss_lipschitz: ([\d.]+)', log)]
    assert losses
    assert all(0 < loss < 1e3 for loss in losses)


PACKAGE = """
import torch
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS as ROOT, Registry
from torch import nn

MODELS = Registry('model', parent=ROOT, scope='mmtiny', locations=['mmtiny'])


@MODELS.register_module()
class TinyNet(BaseModule):
    def __init__(self, width):
        super().__init__()
        channels = [3, width, 2 * width, 4 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
            for a, b in zip(channels, channels[1:])
        )

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


@MODELS.register_module()
class TinyPose(BaseModel):
    def __init__(self, backbone, points):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = nn.Conv2d(4 * backbone['width'], points, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        maps = self.head(self.backbone(inputs))
        if mode == 'loss':
            return dict(loss_pose=(maps - torch.stack(data_samples)).square().mean())
        return maps
"""
TEACHER = """
default_scope = 'mmtiny'
model = dict(type='TinyPose', backbone=dict(type='TinyNet', width=8), points=3)
"""


@pytest.fixture
def other_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Imitate a package with a registry of its own, such as mmyolo and mmpose."""
    (folder / 'mmtiny.py').write_text(textwrap.dedent(PACKAGE))
    (folder / 'configs').mkdir(exist_ok=True)
    (folder / 'configs' / 'teacher.py').write_text(TEACHER)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    yield
    MODELS.children.pop('mmtiny', None)
    sys.modules.pop('mmtiny', None)


@pytest.mark.usefixtures('other_package')
def test_model_of_another_package_is_distilled_as_written(folder: Path) -> None:
    cfg = Config.fromfile('my_pose.py', import_custom_modules=False)
    import_modules_from_strings(**cfg.custom_imports)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.save(build_model(cfg.model.teacher).state_dict(), 'teacher.pth')
        model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    losses = model(torch.randn(2, 3, 32, 32), [torch.zeros(5, 4, 4)] * 2, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert set(losses) == {'student.loss_pose', 'distill.loss_lipschitz'}
    assert total.isfinite()
    # The block for detectors reads raw taps.
    assert len(model.distiller.adapters) == 0
    assert all(p.grad is not None for p in [*model.student.parameters(), *model.distiller.parameters()])
    assert all(p.grad is None for p in model.teacher.parameters())
