from pathlib import Path

import pytest
from mmengine.config import Config

from lckd_mm.cli import config as verb
from tests.helpers.small_classifiers import TAPS, build_distillation, classification_batch, classifier
from tests.helpers.tiny_configs import write_config


@pytest.fixture
def distillation() -> dict:
    return dict(
        type='LipschitzDistill',
        _scope_='mmrazor',
        architecture=classifier(),
        teacher=classifier(depth=50),
        distiller=dict(type='LipschitzDistiller', taps=TAPS, losses=['lipschitz', dict(type='ofd', mul_factor=10.0)]),
    )


def printed_config(path: Path, capsys: pytest.CaptureFixture, *options: str) -> Config:
    verb.main([str(path), *(['--cfg-options', *options] if options else [])])
    return Config.fromstring(capsys.readouterr().out, '.py')


def test_losses_are_expanded(distillation: dict, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    distiller = printed_config(write_config(tmp_path, distillation), capsys).model.distiller
    assert 'losses' not in distiller
    assert set(distiller.distill_losses) == set(distiller.loss_forward_mappings) == {'loss_lipschitz', 'loss_ofd'}


def test_expanded_config_gives_the_same_losses(
    distillation: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    expanded = printed_config(write_config(tmp_path, distillation), capsys).model.distiller.to_dict()
    losses = []
    for distiller in (distillation['distiller'], expanded):
        model = build_distillation(distiller)
        model.init_weights()
        losses.append({name: value.item() for name, value in model(*classification_batch(), mode='loss').items()})
    assert losses[0] == losses[1]
    assert losses[0]['distill.loss_ofd'] > 0


def test_other_parts_and_plain_configs_stay(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_config(tmp_path, classifier())
    cfg = printed_config(path, capsys, 'train_cfg.max_epochs=7')
    assert cfg.train_cfg.max_epochs == 7
    cfg.train_cfg.max_epochs = 1
    assert cfg.to_dict() == Config.fromfile(path).to_dict()
