"""Measurements of gradients and padding on models without training."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from lckd_mm.analysis.configs import load_config
from lckd_mm.analysis.distillation import load_distillation
from lckd_mm.analysis.gradients import measure_gradients
from lckd_mm.analysis.padding import PADDINGS, measure_padding
from lckd_mm.cli import gradients, padding
from lckd_mm.errors import ConfigFileNotFoundError, ConfigValueError
from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import (
    TAPS,
    build_distillation,
    classification_batch,
    classifier,
    distillation_config,
)
from tests.helpers.tiny_configs import write_config, write_images
from tests.helpers.tools import ROOT


def distillation(loss_weight: float = 1.0) -> dict:
    return distillation_config(losses=[dict(type='lipschitz', loss_weight=loss_weight)])


def printed_cells(capsys: pytest.CaptureFixture) -> list[list[str]]:
    return [line.replace('│', ' ').split() for line in capsys.readouterr().out.splitlines()]


def test_excluded_padding_changes_the_norms_less_than_counted_padding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """On three random images and networks without training."""
    random = np.random.default_rng(0)
    for name in 'abc':
        blurred = cv2.GaussianBlur(random.integers(0, 256, (128, 160, 3)).astype(np.uint8), (0, 0), 3)
        cv2.imwrite(str(tmp_path / f'{name}.jpg'), blurred)
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((128, 160), np.uint8))
    cfg = load_config(str(ROOT / 'configs/demo/lckd_deeplabv3plus_r18w32_r18w8_digits.py'))
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    folders = dict(data_root=str(tmp_path), ann_file='', data_prefix=dict(img_path='', seg_map_path=''))
    cfg.test_dataloader.dataset.update(folders)
    cfg.dump(tmp_path / 'config.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    # The features of constant pixels, which the padding consists of, must not be zero.
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.bias)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'epoch_1.pth')
    monkeypatch.setenv('COLUMNS', '200')
    padding.main([str(tmp_path / 'config.py'), str(tmp_path / 'epoch_1.pth')])
    lines = printed_cells(capsys)
    counted = [list(map(float, line[-9:])) for line in lines if 'counted' in line]
    excluded = [list(map(float, line[-9:])) for line in lines if 'excluded' in line]
    assert len(counted) == len(excluded) == len(PADDINGS)
    assert sum(map(sum, excluded)) < sum(map(sum, counted)) / 3


def test_padded_images_are_converted_to_the_pixels_of_the_teacher() -> None:
    teacher = dict(classifier(), data_preprocessor=dict(type='ClsDataPreprocessor', mean=[2.0], std=[4.0], pad_value=5))
    model = MODELS.build(dict(distillation(), teacher=teacher)).eval()
    model.init_weights()
    received: list[Tensor] = []
    model.teacher.backbone.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    image = torch.rand(1, 3, 64, 64)
    measure_padding(model, image, 32)
    assert len(received) == 1 + 2 * len(PADDINGS)
    for pixels in received:
        torch.testing.assert_close(pixels[..., :64, :64], (image - 2) / 4)
        assert (pixels[..., 64:, :] == 5).all()
        assert (pixels[..., 64:] == 5).all()


def test_gradient_of_a_loss_is_proportional_to_its_weight(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_images(tmp_path)
    tables = []
    for weight in (0.5, 1.0):
        config = write_config(tmp_path, distillation(weight))
        # The random numbers of the weights and of the data.
        torch.manual_seed(0)
        np.random.seed(0)
        gradients.main([str(config), '--batches', '1'])
        tables.append(
            {
                line[0]: [float(cell.rstrip('%')) for cell in line[1:]]
                for line in printed_cells(capsys)
                if len(line) == 6
            }
        )
    light, heavy = ({name: row[name] for name in ('task', 'distill.loss_lipschitz')} for row in tables)
    for row in (light, heavy):
        assert row['task'][2:] == [1, 1, 0]
        assert row['task'][1] + row['distill.loss_lipschitz'][1] == pytest.approx(100, abs=0.11)
    light, heavy = light['distill.loss_lipschitz'], heavy['distill.loss_lipschitz']
    assert heavy[0] == pytest.approx(2 * light[0], rel=1e-3)
    assert heavy[2] == pytest.approx(2 * light[2], rel=1e-2)
    assert heavy[3] == pytest.approx(light[3], abs=2e-3)
    assert heavy[4] == pytest.approx(light[4], abs=0.11)


@pytest.mark.parametrize('adapt', [True, False])
def test_share_of_the_adapters_is_that_of_the_squared_gradient(adapt: bool) -> None:
    losses = [dict(type='lipschitz', adapt=adapt), 'ofd']
    model = build_distillation(dict(type='LipschitzDistiller', taps=TAPS, losses=losses)).train()
    model.init_weights()
    images, samples = classification_batch()
    batch = dict(inputs=images, data_samples=samples)
    share = measure_gradients(model, batch)['distill.loss_lipschitz'].adapters
    model.zero_grad()
    model(**batch, mode='loss')['distill.loss_lipschitz'].backward()
    adapters, backbone = (
        sum(float((p.grad**2).sum()) for p in module.parameters() if p.grad is not None)
        for module in (model.distiller.adapters, model.student.backbone)
    )
    assert share == pytest.approx(adapters / (adapters + backbone), rel=1e-4)
    assert (share > 0) == adapt


def test_only_a_distillation_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigValueError, match='is not a distillation, but a ImageClassifier'):
        load_distillation(str(write_config(tmp_path, classifier())))


def test_checkpoint_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileNotFoundError, match=r"checkpoint 'none\.pth' does not exist"):
        load_distillation(str(write_config(tmp_path, distillation())), 'none.pth')


@pytest.mark.parametrize('content', ['student', 'nothing'])
def test_checkpoint_of_another_training_is_one_sentence(content: str, tmp_path: Path) -> None:
    state = build_model(classifier()).state_dict() if content == 'student' else {}
    torch.save(dict(state_dict=state), tmp_path / 'other.pth')
    with pytest.raises(ConfigValueError, match=r"other\.pth' does not match the distillation .*Missing key"):
        load_distillation(str(write_config(tmp_path, distillation())), str(tmp_path / 'other.pth'))
