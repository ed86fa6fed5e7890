"""Hooks that are written for the student work in its distillation."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import numpy as np
import pytest
import torch
from mmdet.engine.hooks import (
    CheckInvalidLossHook,
    NumClassCheckHook,
    PipelineSwitchHook,
    SetEpochInfoHook,
    YOLOXModeSwitchHook,
)
from mmengine.hooks import EMAHook, EmptyCacheHook, Hook, SyncBuffersHook
from mmpretrain.engine.hooks import (
    ClassNumCheckHook,
    DenseCLHook,
    PreciseBNHook,
    PrepareProtoBeforeValLoopHook,
    SetAdaptiveMarginsHook,
    SwAVHook,
    SwitchRecipeHook,
    WarmupParamHook,
)
from mmseg.models import SegTTAModel
from torch import nn

from tests.helpers.runners import fake_runner
from tests.helpers.small_classifiers import build_distillation, classification_batch, classifier, train_step


def dataset(**attributes: Any) -> SimpleNamespace:
    names = ('zero', 'one', 'two')
    return SimpleNamespace(**{**dict(CLASSES=names, metainfo=dict(classes=names), pipeline='first'), **attributes})


def runner_of(model: nn.Module, **attributes: Any) -> SimpleNamespace:
    loader = SimpleNamespace(
        dataset=dataset(), persistent_workers=True, _iterator='first', _DataLoader__initialized=True
    )
    loops = dict(train_dataloader=loader, val_dataloader=loader, train_loop=SimpleNamespace(dataloader=loader))
    return fake_runner(model, **{**loops, **dict(epoch=0, max_epochs=300, max_iters=3000), **attributes})


def counted(num_classes: int, **changes: Any) -> dict[str, Any]:
    """Return a classifier all of whose parts state the number of classes."""
    preprocessor = dict(type='ClsDataPreprocessor', num_classes=num_classes)
    return dict(classifier(num_classes=num_classes, **changes), data_preprocessor=preprocessor)


def other_teacher(num_classes: int = 3) -> nn.Module:
    """Return a distillation whose teacher has another number of classes."""
    return build_distillation(architecture=counted(num_classes), teacher=counted(7, depth=50))


class Loader(list):
    """A data loader of given batches."""

    batch_size = 2


def test_yolox_uses_the_l1_loss_in_the_last_epochs() -> None:
    model = build_distillation()
    model.student.bbox_head = nn.Identity()
    model.student.bbox_head.use_l1 = False
    skipped: list[Any] = []
    runner = runner_of(model, epoch=285)
    runner.train_dataloader.dataset.update_skip_type_keys = skipped.append
    YOLOXModeSwitchHook(num_last_epochs=15).before_train_epoch(runner)
    assert model.student.bbox_head.use_l1 is True
    assert skipped == [('Mosaic', 'RandomAffine', 'MixUp')]
    assert not hasattr(model.teacher, 'bbox_head')


@pytest.mark.parametrize(
    'check',
    [
        lambda runner: NumClassCheckHook().before_train_epoch(runner),
        lambda runner: NumClassCheckHook().before_val_epoch(runner),
        lambda runner: ClassNumCheckHook().before_train(runner),
        lambda runner: ClassNumCheckHook().before_val(runner),
    ],
    ids=['mmdet train', 'mmdet val', 'mmpretrain train', 'mmpretrain val'],
)
def test_numbers_of_classes_are_compared_for_the_student_alone(check: Callable) -> None:
    check(runner_of(other_teacher()))
    with pytest.raises(AssertionError, match='num_classes'):
        check(runner_of(other_teacher(num_classes=4)))


def test_recipe_switch_changes_the_loss_of_the_student_and_the_augmentations_of_the_batch() -> None:
    model = build_distillation()
    schedule = [dict(action_epoch=5, loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1), batch_augments=None)]
    hook, runner = SwitchRecipeHook(schedule), runner_of(model, epoch=4)
    model.data_preprocessor.batch_augments = 'first'
    hook.before_train_epoch(runner)
    assert type(model.student.head.loss_module).__name__ == 'LabelSmoothLoss'
    assert type(model.teacher.head.loss_module).__name__ == 'CrossEntropyLoss'
    assert model.data_preprocessor.batch_augments is None


def test_recipe_switch_changes_a_loss_of_the_student_itself() -> None:
    model = build_distillation()
    model.student.loss_module = nn.Identity()
    loss = nn.CrossEntropyLoss()
    SwitchRecipeHook._switch_loss(runner_of(model), loss)
    assert model.student.loss_module is loss
    assert 'loss_module' not in dict(model.named_children())


def arcface() -> dict[str, Any]:
    model = classifier()
    model['head'] = dict(type='ArcFaceClsHead', num_classes=3, in_channels=32)
    return model


def test_adaptive_margins_are_set_on_the_head_of_the_student() -> None:
    model = build_distillation(architecture=arcface())
    runner = runner_of(model)
    runner.train_dataloader.dataset.get_gt_labels = lambda: np.array([0, 0, 0, 1, 1, 2])
    SetAdaptiveMarginsHook().before_train(runner)
    assert model.student.head.margins.tolist() == pytest.approx([0.05, 0.2019, 0.5], abs=1e-4)


def test_parameter_of_the_head_is_warmed_up() -> None:
    model = build_distillation(architecture=arcface())
    model.student.head.s = 30.0
    hook, runner = WarmupParamHook('s', 'head', warmup_epochs=1), runner_of(model, iter=5)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert model.student.head.s == 15.0


def test_loss_weight_of_densecl_is_switched_on_in_the_student() -> None:
    model = build_distillation()
    model.student.loss_lambda = 0.5
    hook = DenseCLHook(start_iters=10)
    hook.before_train(runner_of(model))
    hook.before_train_iter(runner_of(model, iter=3), 0)
    assert model.student.loss_lambda == 0.0
    hook.before_train_iter(runner_of(model, iter=10), 0)
    assert model.student.loss_lambda == 0.5


def test_prototypes_of_a_retriever_are_updated_before_validation() -> None:
    from mmpretrain.models import BaseRetriever

    class Retriever(BaseRetriever):
        num_prepared = 0

        def prepare_prototype(self) -> None:
            self.num_prepared += 1

        forward = loss = predict = None

    model = build_distillation()
    model.architecture = Retriever()
    PrepareProtoBeforeValLoopHook().before_val(runner_of(model))
    assert model.student.num_prepared == 1


def test_swav_freezes_and_unfreezes_layers_of_the_student_alone() -> None:
    model = build_distillation()
    hook = SwAVHook(batch_size=1, crops_for_assign=[0], frozen_layers_cfg={'head.fc': 100})
    hook.before_train_iter(runner_of(model, iter=3), 0)
    assert [n for n, p in model.student.named_parameters() if not p.requires_grad] == ['head.fc.weight', 'head.fc.bias']
    hook.before_train_iter(runner_of(model, iter=100), 0)
    assert all(p.requires_grad for p in model.student.parameters())
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_precise_bn_recomputes_the_statistics_of_the_student_alone() -> None:
    model = build_distillation().train()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    loader = Loader([dict(inputs=images, data_samples=None)] * 2)
    others = {name: value.clone() for name, value in model.state_dict().items() if 'distiller' in name}
    teacher = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    before = model.student.backbone.bn1.running_mean.clone()
    hook = PreciseBNHook(num_samples=4)
    hook._perform_precise_bn(runner_of(model, train_loop=SimpleNamespace(dataloader=loader)))
    assert not torch.equal(model.student.backbone.bn1.running_mean, before)
    torch.testing.assert_close({name: model.state_dict()[name] for name in others}, others)
    torch.testing.assert_close(dict(model.teacher.state_dict()), teacher, rtol=0, atol=0)


@pytest.mark.parametrize(
    'hook', [SyncBuffersHook(), EmptyCacheHook(after_epoch=True), EMAHook()], ids=lambda h: type(h).__name__
)
def test_hooks_of_mmengine_run_in_a_distillation(hook: Hook) -> None:
    runner = runner_of(build_distillation())
    for point in (
        'before_run',
        'before_train',
        'before_train_epoch',
        'after_train_epoch',
        'before_val_epoch',
        'after_val_epoch',
    ):
        getattr(hook, point)(runner)


def test_the_epoch_is_set_on_the_student() -> None:
    model = build_distillation()
    epochs: list[int] = []
    model.student.set_epoch = epochs.append
    SetEpochInfoHook().before_train_epoch(runner_of(model, epoch=7))
    assert epochs == [7]


def test_hooks_that_read_the_data_or_the_losses_run_in_a_distillation() -> None:
    model = build_distillation()
    model.init_weights()
    runner = runner_of(model, epoch=280, iter=0)
    PipelineSwitchHook(switch_epoch=280, switch_pipeline=[]).before_train_epoch(runner)
    assert runner.train_dataloader.dataset.pipeline != 'first'
    loss, _ = model.parse_losses(train_step(model, classification_batch()))
    CheckInvalidLossHook(interval=1).after_train_iter(runner, 0, outputs=dict(loss=loss.detach()))


def test_test_time_augmentation_of_mmseg_reads_the_number_of_channels_of_the_student() -> None:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    model = build_distillation()
    model.student.out_channels = 2
    sample = SegDataSample(seg_logits=PixelData(data=torch.randn(2, 4, 4)), metainfo=dict(img_path='image.png'))
    merged = SegTTAModel(module=model).merge_preds([[sample, sample]])
    assert merged[0].pred_sem_seg.data.shape == (1, 4, 4)
