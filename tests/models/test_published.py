"""``pretrained=True`` beside ``cfg_path``: the published weights of a config."""

from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model, published_checkpoint
from tests.helpers.small_classifiers import build_distillation

NAME = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
# Each stack has a server of its own.
FILE = '/mmclassification/v0/resnet/resnet18_b16x8_cifar10_20210528-bd6371c8.pth'
DISTILLER = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
    teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
    distill_losses=dict(loss_kl=dict(type='KLDivergence')),
    loss_forward_mappings=dict(
        loss_kl=dict(preds_S=dict(from_student=True, recorder='fc'), preds_T=dict(from_student=False, recorder='fc'))
    ),
)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that were loaded; each contains the weights 0.5 of the model in ``NAME``."""
    urls: list[str] = []
    state = {key: torch.full_like(value, 0.5) for key, value in build_model(dict(cfg_path=NAME)).state_dict().items()}

    def load(filename: str, *args: object, **kwargs: object) -> dict:
        urls.append(filename)
        return dict(state_dict=state)

    monkeypatch.setitem(CheckpointLoader._schemes, 'https://', load)
    monkeypatch.setitem(CheckpointLoader._schemes, 'http://', load)
    return urls


def test_student_and_teacher_start_from_the_published_weights(downloads: list[str]) -> None:
    published = dict(cfg_path=NAME, pretrained=True)
    model = build_distillation(DISTILLER, architecture=published, teacher=published, allow_random_teacher=False)
    assert downloads == []
    model.init_weights()
    assert len(downloads) == 2
    assert all(url.endswith(FILE) for url in downloads)
    for network in (model.student, model.teacher):
        assert all(bool((weight == 0.5).all()) for weight in network.parameters())


def test_a_student_with_other_classes_keeps_its_new_head(downloads: list[str]) -> None:
    student = dict(cfg_path=NAME, pretrained=True, cfg_options={'head.num_classes': 3})
    model = build_distillation(DISTILLER, architecture=student, teacher=dict(cfg_path=NAME))
    model.init_weights()
    assert bool((model.student.backbone.conv1.weight == 0.5).all())
    assert not bool((model.student.head.fc.weight == 0.5).any())


def test_teacher_ckpt_has_priority(downloads: list[str], tmp_path: Path) -> None:
    path = tmp_path / 'teacher.pth'
    teacher = dict(cfg_path=NAME, pretrained=True)
    torch.save(build_model(dict(cfg_path=NAME)).state_dict(), path)
    model = build_distillation(
        DISTILLER,
        architecture=dict(cfg_path=NAME, pretrained=False),
        teacher=teacher,
        teacher_ckpt=str(path),
        allow_random_teacher=False,
    )
    model.init_weights()
    assert downloads == []


@pytest.mark.parametrize(
    'path', ['mmpretrain::resnet/resnet50_8xb32-coslr-preciseBN_in1k.py', 'mmdet::_base_/models/retinanet_r50_fpn.py']
)
def test_a_config_without_published_weights_is_refused(path: str) -> None:
    with pytest.raises(ConfigValueError, match=f"no weights are published for cfg_path='{path}'"):
        published_checkpoint(dict(cfg_path=path, pretrained=True))


def test_a_file_has_no_published_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigValueError, match='no weights are published'):
        published_checkpoint(dict(cfg_path=str(tmp_path / 'model.py'), pretrained=True))


@pytest.mark.parametrize(
    'model', [dict(cfg_path=NAME, pretrained=False), dict(cfg_path=NAME), dict(pretrained='a.pth')]
)
def test_nothing_is_looked_up_without_pretrained(model: dict) -> None:
    assert published_checkpoint(model) is None
