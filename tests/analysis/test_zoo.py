"""Stock models can be distilled, and the check of it finds what is wrong."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import nn

from lckd_mm.analysis import zoo, zoo_step
from lckd_mm.analysis.stock_configs import stock_configs
from lckd_mm.analysis.zoo import check_model, read_plan, walk_zoo
from lckd_mm.analysis.zoo_models import ZooModel, group_of, plan_zoo, read_model
from lckd_mm.analysis.zoo_report import count_statuses, render_page, summarize
from lckd_mm.analysis.zoo_step import distillation_step
from lckd_mm.models.utils import build_model
from tests.helpers.processes import run_python
from tests.helpers.small_classifiers import classifier
from tests.helpers.tools import ROOT

FILES = {'/'.join(path.parts[-2:]): path for path in stock_configs()}

# A fixed sample of the combinations in docs/zoo.md: 30 fast ones with different backbones and heads.
SAMPLE = [
    'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
    'detr/detr_r18_8xb2-500e_coco.py',
    'faster_rcnn/faster-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py',
    'fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py',
    'pvt/retinanet_pvt-t_fpn_1x_coco.py',
    'retinanet/retinanet_r18_fpn_1x_coco.py',
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py',
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py',
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
    'yolox/yolox_nano_8xb8-300e_coco.py',
    'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
    'cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py',
    'erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024.py',
    'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py',
    'icnet/icnet_r18-d8-in1k-pre_4xb2-160k_cityscapes-832x832.py',
    'mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024.py',
    'ocrnet/ocrnet_hr18s_4xb2-160k_cityscapes-512x1024.py',
    'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
    'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py',
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py',
    'convnext_v2/convnext-v2-atto_32xb32_in1k.py',
    'deit/deit-tiny_4xb256_in1k.py',
    'efficientformer/efficientformer-l1_8xb128_in1k.py',
    'efficientnet_v2/efficientnetv2-b0_8xb32_in1k.py',
    'levit/levit-128s_8xb256_in1k.py',
    'mobilevit/mobilevit-xxsmall_8xb128_in1k.py',
    'poolformer/poolformer-s12_32xb128_in1k.py',
    'resnet/resnet18_8xb32_in1k.py',
    'shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',
    'van/van-tiny_8xb128_in1k.py',
]


# These raise an error in a training of the model alone, since their heads are those of a distilled model.
WITHOUT_LOSSES = ('efficientformer/efficientformer-l1_8xb128_in1k.py', 'levit/levit-128s_8xb256_in1k.py')


@pytest.mark.parametrize('config', SAMPLE)
def test_stock_model_is_distilled_in_a_training_step(config: str) -> None:
    result = check_model(FILES[config])
    assert (result['status'], result.get('message')) == ('works', None)
    assert result['step'] == ('features' if config in WITHOUT_LOSSES else 'training')
    assert len(result['taps']) >= 2


def _networks(kind: type = nn.Identity) -> tuple[BaseModel, BaseModel]:
    """Return two small classifiers with a module of a class behind their backbones."""
    models = build_model(classifier()), build_model(classifier())
    for model in models:
        model.backbone.layer4.add_module('extra', kind())
    return models


class _Counter(nn.Module):
    """Changes its state in evaluation mode as well."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('count', torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return x


class _Noise(nn.Module):
    """Differs from itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


def test_step_of_a_sound_model_has_no_problems() -> None:
    result = distillation_step(*_networks())
    assert (result.problems, result.step, result.reason, result.size) == ([], 'training', '', (128, 128))
    assert [tap.source for tap in result.taps] == [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
    assert result.gradient > 0


def test_a_teacher_that_changes_in_evaluation_mode_is_a_problem() -> None:
    problems = distillation_step(*_networks(_Counter)).problems
    assert problems == ["the step changes 'backbone.layer4.extra.count' of the teacher"]


def test_equal_networks_with_different_maps_are_a_problem() -> None:
    (problem,) = distillation_step(*_networks(_Noise)).problems
    assert problem.startswith('the Lipschitz loss of equal networks is ')


class _PartialState(nn.Module):
    """Has a state dict of a part of its tensors, as a LoRA model."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(32, 1, 1))
        self._register_state_dict_hook(self._remove)

    @staticmethod
    def _remove(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        del state[f'{prefix}scale']

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


def test_equal_networks_have_equal_tensors_outside_of_their_state_dicts() -> None:
    assert distillation_step(*_networks(_PartialState)).problems == []


def test_shared_modules_and_memory_are_problems() -> None:
    student, teacher = _networks()
    teacher.backbone.layer1[0].conv1 = student.backbone.layer1[0].conv1
    teacher.head.fc.weight.data = student.head.fc.weight.data[:]
    problems = distillation_step(student, teacher).problems
    for name in ('backbone.layer1.0.conv1', 'backbone.layer1.0.conv1.weight', 'head.fc.weight'):
        assert f"student and teacher share '{name}'" in problems
    assert "the step changes 'head.fc.weight' of the teacher" in problems


def test_gradients_outside_of_the_student_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    take_step = zoo_step._take_step

    def with_trained_teacher(distillation: Any, batch: Any) -> Any:
        weight = distillation.teacher.head.fc.weight.requires_grad_()
        distillation.architecture.head.fc.register_forward_hook(lambda module, inputs, output: output + weight.sum())
        return take_step(distillation, batch)

    monkeypatch.setattr(zoo_step, '_take_step', with_trained_teacher)
    assert "'head.fc.weight' has a gradient" in distillation_step(*_networks()).problems


def test_norms_receive_the_statistics_of_images_before_the_step() -> None:
    student, teacher = _networks()
    assert distillation_step(student, teacher).problems == []
    for norm in (module for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)):
        assert (norm.momentum, norm.training, int(norm.num_batches_tracked)) == (0.1, False, 1)
        assert not torch.equal(norm.running_var, torch.ones_like(norm.running_var))


def test_a_model_whose_own_losses_fail_takes_the_step_of_the_lipschitz_loss() -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError('no such operation')

    student, teacher = _networks()
    student.head.loss = fail
    result = distillation_step(student, teacher)
    assert (result.step, result.reason, result.problems) == ('features', "KeyError: 'no such operation'", [])
    assert result.gradient > 0


@pytest.mark.parametrize('larger', [dict(status='works', step='training'), dict(status='refused', message='too large')])
def test_larger_images_are_tried_for_heads_that_need_them(
    larger: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dict(status='works', step='features')
    monkeypatch.setattr(zoo, '_check_apart', lambda path, seconds, size=None: small if size is None else larger)
    (record,) = walk_zoo([ZooModel('mmdet', 'SSD', ['a/b.py'])], tmp_path / 'zoo.jsonl')
    assert record['step'] == ('training' if larger['status'] == 'works' else 'features')


def test_losses_that_depend_on_the_epoch_are_computed() -> None:
    student, teacher = _networks()
    epochs = []
    student.backbone.register_forward_hook(
        lambda *_: epochs.append(MessageHub.get_current_instance().get_info('epoch'))
    )
    before = MessageHub.get_current_instance().get_info('epoch')
    assert distillation_step(student, teacher).step == 'training'
    assert 0 in epochs
    assert MessageHub.get_current_instance().get_info('epoch') == before


def test_an_error_of_the_distillation_alone_is_not_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError('no such record')

    monkeypatch.setattr('lckd_mm.models.algorithms.lipschitz_distill.check_gradients', fail)
    with pytest.raises(KeyError, match='no such record'):
        distillation_step(*_networks())


def test_results_are_continued_with_the_smallest_config_per_combination(tmp_path: Path) -> None:
    names = ['mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py', 'mobilenet_v3/mobilenet-v3-small-050_8xb128_in1k.py']
    names += ['mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', 'broken.py', 'tta.py', 'unreadable.py']
    (tmp_path / 'tta.py').write_text("tta_model = dict(type='A')\n")
    (tmp_path / 'broken.py').write_text("model = dict(type='A')\n")
    (tmp_path / 'unreadable.py').write_text("_base_ = 'missing.py'\n")
    plan = read_plan([FILES.get(name, tmp_path / name) for name in names], tmp_path / 'plan.json')
    assert read_plan([], tmp_path / 'plan.json') == plan
    file = tmp_path / 'zoo.jsonl'
    records = list(walk_zoo(plan, file))
    assert {record['config'].rpartition('/')[2]: record['status'] for record in records} == {
        'broken.py': 'not built',
        'unreadable.py': 'not built',
        'mobilenet-v3-small-050_8xb128_in1k.py': 'works',
        'mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py': 'apart',
    }
    (mobilenet,) = (record for record in records if record['status'] == 'works')
    assert (mobilenet['num_configs'], mobilenet['taps'][-1]) == (2, 'backbone.layer12 at 32')
    assert records == [json.loads(line) for line in file.read_text().splitlines()]
    assert list(walk_zoo(plan, file)) == []
    file.write_text(''.join(file.read_text().splitlines(keepends=True)[1:]))
    assert len(list(walk_zoo(plan, file))) == 1


def test_another_config_is_checked_if_the_first_cannot_be_built(tmp_path: Path) -> None:
    head = "head=dict(type='LinearClsHead', num_classes=2, in_channels=512)"
    for name, depth in (('a.py', 7), ('b.py', 18), ('c.py', 18)):
        backbone = f"backbone=dict(type='ResNet', depth={depth}), neck=dict(type='GlobalAveragePooling')"
        (tmp_path / name).write_text(
            f"default_scope = 'mmpretrain'\nmodel = dict(type='ImageClassifier', {backbone}, {head})\n"
        )
    paths = [tmp_path / name for name in ('a.py', 'b.py', 'c.py')]
    plan = [ZooModel('mmpretrain', 'ImageClassifier, ResNet', list(map(str, paths)))]
    (record,) = walk_zoo(plan, tmp_path / 'zoo.jsonl')
    assert (record['config'].rpartition('/')[2], record['status']) == ('b.py', 'works')


def test_a_check_over_the_time_limit_is_ended(tmp_path: Path) -> None:
    plan = plan_zoo([FILES['resnet/resnet152_8xb32_in1k.py']])
    record = next(walk_zoo(plan, tmp_path / 'slow.jsonl', cpu_seconds=1))
    assert (record['status'], record['message']) == ('over limit', 'more than 1 s of CPU time')


def test_a_check_over_the_memory_limit_is_ended(tmp_path: Path) -> None:
    # Memory that this process has released would be available to the check.
    code = f"""
from pathlib import Path
from lckd_mm.analysis import zoo
from lckd_mm.analysis.zoo_models import plan_zoo
zoo.MEMORY_BYTES = 4
plan = plan_zoo([Path({str(FILES['resnet/resnet152_8xb32_in1k.py'])!r})])
print(next(zoo.walk_zoo(plan, Path({str(tmp_path / 'large.jsonl')!r})))['status'])
"""
    done = run_python('-W', 'ignore', '-c', code)
    assert done.stdout.splitlines()[-1:] == ['over limit'], done.stderr[-2000:]


def test_a_frozen_backbone_is_refused() -> None:
    result = check_model(FILES['benchmarks/resnet50_8xb32-linear-coslr-100e_in1k.py'])
    assert result['status'] == 'refused'
    assert 'frozen' in result['message']


@pytest.mark.parametrize(
    ('config', 'group'),
    [
        ('bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval.py', 'tracking'),
        ('mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py', 'tracking'),
        ('mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', 'self-supervised'),
        ('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py', 'semi-supervised'),
        ('clip/clip_vit-base-p16_zeroshot-cls_cifar100.py', 'multimodal'),
        ('grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py', 'multimodal'),
        ('san/san-vit-b16_coco-stuff164k-640x640.py', 'multimodal'),
        # A classifier on the backbone of a self-supervised training, and models with a tracking-like or self-supervised name.
        ('benchmarks/vit-small-p16_8xb128-linear-coslr-90e_in1k.py', ''),
        ('mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py', ''),
        ('selfsup_pretrain/mask-rcnn_r50-mocov2-pre_fpn_ms-2x_coco.py', ''),
    ],
)
def test_models_that_are_listed_apart(config: str, group: str) -> None:
    assert group_of(read_model(FILES[config])) == group


def test_page_has_the_counts_and_each_message() -> None:
    base = dict(package='mmseg', combination='A, B', num_configs=3, date='2026-01-02')
    works = dict(base, status='works', config='a/a.py', taps=['x.y[1] at 8', 'z at 16'], step='training')
    records = [
        works,
        dict(works, config='a/b.py', step='features', reason='KeyError: no | operation <x>'),
        dict(base, status='refused', config='a/c.py', message='set it to 3.'),
        dict(base, status='fails', config='a/d.py', message='KeyError: 1'),
        dict(base, status='not built', config='a/e.py', message='ImportError: lap'),
        dict(base, status='over limit', config='a/f.py', message='more than 60 s'),
        dict(base, status='apart', config='a/g.py', group='tracking'),
    ]
    page = render_page(records, 60, 8 * 2**30)
    assert '| mmseg | 21 | 4 | 2 (50.0%) | 1 (25.0%) | 1 (25.0%) | 1 | 1 | 1 | 1 |' in page
    assert 'Date: 2026-01-02. ' in page
    for text in (
        'set it to 3.',
        'KeyError: 1',
        'ImportError: lap',
        'more than 60 s',
        'no \\| operation &lt;x>',
        '- tracking: 1 combinations: `a/g.py`',
    ):
        assert text in page
    assert '`x.y[1]` 8, `z` 16' in page
    assert summarize(copy.copy(records)).splitlines()[0] == (
        '7 combinations: works 2, refused 1, fails 1, not built 1, over limit 1, apart 1'
    )


def test_published_results_are_those_of_the_page() -> None:
    records = [json.loads(line) for line in (ROOT / 'docs' / 'results' / 'zoo.jsonl').read_text().splitlines()]
    page = (ROOT / 'docs' / 'zoo.md').read_text()
    # The versions are those of the environment in which the page was written.
    rendered = render_page(records, zoo.CPU_SECONDS, zoo.MEMORY_BYTES).splitlines()
    assert [line for line in rendered if not line.startswith('Date: ')] == [
        line for line in page.splitlines() if not line.startswith('Date: ')
    ]
    counts = count_statuses(records)
    checked = counts['works'] + counts['refused'] + counts['fails']
    assert counts['works'] >= 0.95 * checked
    assert counts['refused'] <= 0.03 * checked
    assert counts['fails'] == 0
    checked_configs = {record['config'] for record in records if record['status'] == 'works'}
    assert set(SAMPLE) - checked_configs == set()
