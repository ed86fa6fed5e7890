from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from lckd_mm.analysis import teacher_metric
from lckd_mm.analysis.known_metrics import find_known_metric
from lckd_mm.analysis.teacher_metric import evaluate_teacher, evaluation_obstacle, main_metric
from lckd_mm.errors import ConfigError
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import classifier

MEAN = [120.0, 120.0, 120.0]


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    random = np.random.default_rng(0)
    for label in ('a', 'b', 'c'):
        (tmp_path / 'val' / label).mkdir(parents=True)
        for index in range(4):
            image = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / 'val' / label / f'{index}.png'), image)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    dataset = dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='val', pipeline=pipeline)
    sampler = dict(type='DefaultSampler', shuffle=False)
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(classifier(), data_preprocessor=dict(mean=MEAN, std=[60.0] * 3, to_rgb=True)),
            val_dataloader=dict(batch_size=2, num_workers=0, dataset=dataset, sampler=sampler),
            val_evaluator=dict(type='Accuracy', topk=(1,)),
        )
    )


@pytest.fixture
def checkpoint(cfg: Config, tmp_path: Path) -> str:
    torch.manual_seed(0)
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=build_model(dict(cfg.model)).state_dict()), path)
    return str(path)


def _accuracy(cfg: Config, checkpoint: str, folder: Path, names: range) -> float:
    """Compute the accuracy from the image files and the forward pass alone."""
    model = build_model(dict(cfg.model)).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    paths = sorted((folder / 'val').glob('*/*.png'))
    correct = []
    for path in [paths[index] for index in names]:
        image = torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1).float()
        scores = model(((image - 120) / 60)[None], mode='tensor')
        correct.append(int(scores.argmax()) == 'abc'.index(path.parent.name))
    return 100 * float(np.mean(correct))


def test_the_metric_is_that_of_the_forward_pass(cfg: Config, checkpoint: str, tmp_path: Path) -> None:
    seen = []
    result = evaluate_teacher(cfg.model, checkpoint, cfg, 1000, lambda *counts: seen.append(counts))
    assert result.metrics['accuracy/top1'] == pytest.approx(_accuracy(cfg, checkpoint, tmp_path, range(12)), abs=1e-3)
    assert (result.num_images, result.num_all) == (12, 12)
    assert seen[0] == (2, 12)
    assert seen[-1] == (12, 12)


def test_a_short_time_evaluates_an_even_part(
    cfg: Config, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_metric, '_affordable', lambda *_: 6)
    result = evaluate_teacher(cfg.model, checkpoint, cfg, 1)
    assert (result.num_images, result.num_all) == (6, 12)
    expected = _accuracy(cfg, checkpoint, tmp_path, range(0, 12, 2))
    assert result.metrics['accuracy/top1'] == pytest.approx(expected, abs=1e-3)


def test_a_wrapper_of_data_sets_is_evaluated_in_part_as_well(
    cfg: Config, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_metric, '_affordable', lambda *_: 6)
    cfg.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[cfg.val_dataloader.dataset])
    result = evaluate_teacher(cfg.model, checkpoint, cfg, 1)
    assert (result.num_images, result.num_all) == (6, 12)
    expected = _accuracy(cfg, checkpoint, tmp_path, range(0, 12, 2))
    assert result.metrics['accuracy/top1'] == pytest.approx(expected, abs=1e-3)


def test_the_affordable_number_follows_from_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock that moves by one second when the loader begins with a batch of two images, which includes the time of loading.
    seconds = [0]
    model, images = SimpleNamespace(val_step=lambda batch: batch), [[1, 2]] * 6

    def load() -> Iterator[list]:
        for batch in images:
            seconds[0] += 1
            yield batch

    monkeypatch.setattr(teacher_metric.time, 'monotonic', lambda: seconds[0])
    assert teacher_metric._affordable(model, load(), 12, 4) == 8
    assert teacher_metric._affordable(model, load(), 12, 100) == 12
    assert teacher_metric._affordable(model, iter(images[:1]), 2, 0.1) == 2


def test_results_are_kept_by_the_content_of_checkpoint_and_data(
    cfg: Config, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate_teacher(cfg.model, checkpoint, cfg, 1000)
    monkeypatch.setattr(teacher_metric, '_evaluate', lambda *_: pytest.fail('evaluated again'))
    assert evaluate_teacher(cfg.model, checkpoint, cfg, 1000) == first
    evaluated = []
    monkeypatch.setattr(teacher_metric, '_evaluate', lambda *_: evaluated.append(1) or first)
    state = torch.load(checkpoint, weights_only=True)
    state['state_dict']['head.fc.bias'] += 1
    torch.save(state, checkpoint)
    evaluate_teacher(cfg.model, checkpoint, cfg, 1000)
    cfg.val_dataloader.dataset.data_prefix = 'val/'
    evaluate_teacher(cfg.model, checkpoint, cfg, 1000)
    assert len(evaluated) == 2


def test_a_checkpoint_of_another_model_is_refused(cfg: Config, tmp_path: Path) -> None:
    torch.save(dict(state_dict=build_model(classifier(depth=34)).state_dict()), tmp_path / 'other.pth')
    with pytest.raises(ConfigError, match='does not match the teacher'):
        evaluate_teacher(cfg.model, str(tmp_path / 'other.pth'), cfg, 10)


def test_a_teacher_of_other_classes_is_not_evaluated(cfg: Config) -> None:
    student, same, other = (build_model(classifier(num_classes=count)) for count in (3, 3, 80))
    assert evaluation_obstacle(student, same, cfg) == ''
    assert evaluation_obstacle(student, other, cfg) == 'it has 80 classes, and the student 3'
    assert 'no validation data' in evaluation_obstacle(student, same, Config(dict(val_dataloader=None)))


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['coco/bbox_mAP_50', 'coco/bbox_mAP', 'coco/segm_mAP'], 'coco/bbox_mAP'),
        (['aAcc', 'mIoU', 'mAcc'], 'mIoU'),
        (['accuracy/top5', 'accuracy/top1'], 'accuracy/top1'),
        (['pascal_voc/AP50', 'pascal_voc/mAP'], 'pascal_voc/mAP'),
        (['coco_panoptic/SQ', 'coco_panoptic/PQ'], 'coco_panoptic/PQ'),
        (['loss'], 'loss'),
        ([], None),
    ],
)
def test_the_main_metric_is_the_one_that_papers_report(names: list, expected: str | None) -> None:
    assert main_metric(Config(), names) == expected


def test_an_own_training_precedes_a_published_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    known = find_known_metric(config, 'coco/bbox_mAP')
    assert known is not None
    assert known.value == pytest.approx(0.317)
    assert known.source == 'published, mmdet'
    # Published figures are not those of other data.
    assert find_known_metric(config, 'coco/bbox_mAP', is_changed=True) is None
    assert find_known_metric('my_student.py', 'mIoU') is None
    log = tmp_path / 'work_dirs' / 'retinanet_r18_fpn_1x_coco' / 'run' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"coco/bbox_mAP": 0.2, "step": 1}\n{"coco/bbox_mAP": 0.25, "step": 2}\n')
    assert find_known_metric(config, 'coco/bbox_mAP', is_changed=True).value == 0.25


@pytest.mark.parametrize(
    ('config', 'metric', 'value'),
    [
        ('mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py', 'mIoU', 74.87),
        ('mmpretrain::resnet/resnet18_8xb32_in1k.py', 'accuracy/top1', 69.90),
    ],
)
def test_published_figures_of_other_packages(
    config: str, metric: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = find_known_metric(config, metric)
    assert known is not None
    assert known.value == pytest.approx(value)
