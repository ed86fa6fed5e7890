"""`python -m lckd_mm config FILE`: a training from the printed config has the same losses."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.configs import build_from_config, load_config, stand_in_batch
from tests.helpers.tools import ROOT

CONFIGS = [
    'demo/lckd_resnet_w16_w4_digits.py',
    pytest.param('cifar10/lipschitz_balanced_wrn28_4_wrn16_2_cifar10.py', marks=pytest.mark.slow),
    pytest.param('bccd/lipschitz_fpn_faster_rcnn_r50_r18_bccd.py', marks=pytest.mark.slow),
    'camvid/lipschitz_ofd_balanced_deeplabv3plus_r18w32_r18w8_camvid.py',
]


def first_losses(path: Path) -> dict[str, float]:
    cfg = load_config(path)
    model = build_from_config(cfg)
    torch.manual_seed(0)
    model.init_weights()
    model.train()
    torch.manual_seed(1)
    images, samples = stand_in_batch(cfg, model)
    losses, _ = model.parse_losses(model(images, samples, mode='loss'))
    return dict(total=losses.item())


@pytest.mark.parametrize('name', CONFIGS)
def test_printed_config_has_no_presets_and_the_same_first_loss(name: str, tmp_path: Path) -> None:
    command = [sys.executable, '-W', 'ignore', '-m', 'lckd_mm', 'config', f'configs/{name}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    expanded = tmp_path / 'expanded.py'
    expanded.write_text(done.stdout)
    distiller = load_config(expanded).model.distiller
    assert 'losses' not in distiller
    assert set(distiller.distill_losses) == set(distiller.loss_forward_mappings)
    assert first_losses(expanded) == first_losses(ROOT / 'configs' / name)
