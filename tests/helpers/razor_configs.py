"""MMRazor's published distillation configs, and stand-ins for the data and the checkpoints that they need."""

import contextlib
import copy
from pathlib import Path
from typing import Any

import mmrazor
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, METRICS
from mmengine.runner import CheckpointLoader, Runner
from mmengine.structures import InstanceData, PixelData
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from lckd_mm.models.utils import build_teacher

FOLDER = Path(mmrazor.__file__).parent / '.mim' / 'configs' / 'distill'


def published_configs() -> list[str]:
    """Return the distillation configs of MMRazor by path, without those of data sets."""
    paths = (path.relative_to(FOLDER) for path in FOLDER.rglob('*.py'))
    return sorted(str(path) for path in paths if 'datasets' not in path.parts)


@DATASETS.register_module()
class StandInDataset(Dataset):
    """Random images with annotations of one task."""

    metainfo = {'classes': ('a', 'b')}

    def __init__(self, task: str, side: int, length: int) -> None:
        self.task, self.side, self.length = task, side, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, self.side, self.side), dtype=torch.uint8, generator=generator)
        return dict(inputs=image, data_samples=_SAMPLES[self.task](index, self.side))


def _classification_sample(index: int, side: int) -> Any:
    from mmpretrain.structures import DataSample

    # As PackCRDClsInputs packs them: the image, and 16384 images of other classes.
    contrast = torch.randint(0, 50000, (16385,), generator=torch.Generator().manual_seed(index))
    sample = DataSample(sample_idx=torch.tensor(index), contrast_sample_idxs=contrast)
    return sample.set_gt_label(index)


def _shapes(side: int) -> dict[str, Any]:
    shape = (side, side)
    return dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))


def _detection_sample(index: int, side: int) -> Any:
    from mmdet.structures import DetDataSample

    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.7], [0.3, 0.2, 0.9, 0.8]]) * side
    sample = DetDataSample(metainfo=dict(_shapes(side), img_id=index))
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
    sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.int64))
    return sample


def _segmentation_sample(index: int, side: int) -> Any:
    from mmseg.structures import SegDataSample

    labels = torch.randint(19, (1, side, side), generator=torch.Generator().manual_seed(index))
    return SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=_shapes(side))


_SAMPLES = dict(mmcls=_classification_sample, mmdet=_detection_sample, mmseg=_segmentation_sample)


@METRICS.register_module()
class CountMetric(BaseMetric):
    """The number of evaluated images."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(images=float(len(results)))


@HOOKS.register_module()
class OneIterationHook(Hook):
    """Ends a training after its first iteration, whatever its schedule."""

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        raise _EndOfTrainingError


class _EndOfTrainingError(Exception):
    """Ends a training."""


class StandInTimmBackbone(nn.Module):
    """Feature maps with the channels of a RegNetY-16GF, in place of a backbone of timm."""

    def __init__(self, model_name: str, pretrained: bool) -> None:
        super().__init__()
        assert model_name == 'regnety_160'
        self.conv = nn.Conv2d(3, 3024, 32, 32)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.conv(images),)


def run_published_config(cfg: Config) -> dict[str, float]:
    """Train for one iteration, evaluate, and return what was logged."""
    runner = Runner.from_cfg(cfg)
    with contextlib.suppress(_EndOfTrainingError):
        runner.train()
    runner.val_loop.run()
    return {name: float(history.current()) for name, history in runner.message_hub.log_scalars.items()}


def stand_in_checkpoints(monkeypatch: pytest.MonkeyPatch, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Let every file or URL of a checkpoint contain one state dict, and let pretrained backbones keep their first weights."""
    for prefix in CheckpointLoader._schemes:
        monkeypatch.setitem(CheckpointLoader._schemes, prefix, lambda *_, **__: dict(state_dict=state or {}))
    monkeypatch.setattr('mmengine.model.weight_init.PretrainedInit.__call__', lambda self, module: None)
    monkeypatch.setattr('lckd_mm.compat.mmengine_checkpoint.check_checkpoint_path', lambda *_: None)
    # timm is not installed with this package.
    monkeypatch.setitem(MODELS.module_dict, 'TIMMBackbone', StandInTimmBackbone)
    monkeypatch.chdir(folder)


def exchange_type(cfg: Config, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let ``LipschitzDistill`` be the algorithm of a config; its teacher is loaded from a stand-in for the checkpoint."""
    stand_in_checkpoints(monkeypatch, folder)
    model = cfg.model
    model.type = 'LipschitzDistill'
    weights = build_teacher(copy.deepcopy(model.teacher))[0].state_dict()
    path = model.get('teacher_ckpt')
    if path is None and 'init_cfg' in model:
        path, weights = model.init_cfg.checkpoint, {f'teacher.{key}': value for key, value in weights.items()}
    if path is None:
        # The weights of this teacher are those of timm.
        model.allow_random_teacher = True
    elif '://' not in path:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    stand_in_checkpoints(monkeypatch, folder, weights)


def load_published_config(name: str, work_dir: Path) -> Config:
    """Load a config with stand-ins for data and evaluation, which trains for one iteration and evaluates."""
    cfg = Config.fromfile(FOLDER / name)
    task = name.partition('/')[0]
    is_small = any('cifar' in part for part in (name, str(cfg.get('dataset_type', '')).lower()))
    side = 32 if is_small else 224 if task == 'mmcls' else 128
    loader = dict(
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate' if task == 'mmcls' else 'pseudo_collate'),
        num_workers=0,
    )
    images = dict(type='StandInDataset', task=task, side=side)
    # The warm-up of one config ends after 5000 of 300 x 20 iterations.
    cfg.train_dataloader = dict(loader, dataset=dict(images, length=40))
    cfg.val_dataloader = dict(loader, dataset=dict(images, length=2))
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='OneIterationHook')]
    cfg.val_evaluator = dict(type='CountMetric')
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.default_hooks = dict(checkpoint=None)
    cfg.merge_from_dict(dict(work_dir=str(work_dir), experiment_name=str(work_dir).replace('/', '_')))
    return cfg
