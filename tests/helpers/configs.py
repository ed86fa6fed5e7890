"""Building the models of configs, and batches of stand-in data for them."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import nn


def load_config(path: Path) -> Config:
    """Load a config; the teacher of a distillation keeps its initial weights."""
    cfg = Config.fromfile(path)
    if 'teacher' in cfg.model:
        cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    return cfg


def build_from_config(cfg: Config) -> nn.Module:
    """Build the model of a config as mmengine's Runner does."""
    torch.manual_seed(0)
    model = cfg.model.copy()
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return revert_sync_batchnorm(MODELS.build(model))


def stand_in_batch(cfg: Config, model: nn.Module) -> tuple[torch.Tensor, list]:
    """Return two preprocessed random images and their annotations.

    The images have the size of the config's data, or a smaller one if the model takes any size.
    """
    if cfg.default_scope == 'mmpretrain':
        return _classification_batch(224 if 'ImageNet' in cfg.train_dataloader.dataset.type else 32)
    if cfg.default_scope == 'mmseg':
        return _segmentation_batch(getattr(model, 'student', model).decode_head.num_classes)
    # An SSD head is built for one image size.
    side = 300 if 'ssd300' in str(cfg.filename) else 96
    return _detection_batch(side, any(name.endswith('mask_head') for name, _ in model.named_modules()))


def _classification_batch(side: int) -> tuple[torch.Tensor, list]:
    from mmpretrain.structures import DataSample

    return torch.randn(2, 3, side, side), [DataSample().set_gt_label(label) for label in (0, 3)]


def _segmentation_batch(num_classes: int) -> tuple[torch.Tensor, list]:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    labels = torch.randint(num_classes, (2, 1, 128, 128))
    labels[:, :, :10] = 255
    shapes = dict(img_shape=(128, 128), ori_shape=(128, 128), pad_shape=(128, 128))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=shapes) for label in labels]
    return torch.randn(2, 3, 128, 128), samples


def _detection_batch(side: int, with_masks: bool) -> tuple[torch.Tensor, list]:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    shape = (side, side)
    shapes = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))
    boxes = torch.tensor([[8.0, 8.0, 40.0, 60.0], [30.0, 20.0, 90.0, 80.0]])
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo=shapes)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
        if with_masks:
            masks = torch.zeros(2, *shape, dtype=torch.uint8)
            masks[0, 8:60, 8:40] = masks[1, 20:80, 30:90] = 1
            sample.gt_instances.masks = BitmapMasks(masks.numpy(), *shape)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.int64))
        samples.append(sample)
    return torch.randn(2, 3, side, side), samples


@torch.no_grad()
def calibrate_batch_norms(model: nn.Module, images: torch.Tensor) -> None:
    """Replace the statistics of all BNs of a classifier by those of a batch."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    model.extract_feat(images)
    for norm, momentum in zip(norms, momenta):
        norm.eval()
        norm.momentum = momentum
