import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import classifier


def test_cfg_options_override_the_config_of_cfg_path() -> None:
    model = build_model(
        dict(
            cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py',
            cfg_options={'head.num_classes': 7, 'backbone.base_channels': 8, 'head.in_channels': 64},
        )
    )
    assert model.head.fc.weight.shape == (7, 64)
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx([125.307, 122.961, 113.8575])


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        (dict(cfg_path='mmpretrain::resnet/resnet17.py'), FileNotFoundError, 'resnet17.py'),
        (dict(cfg_path='nowhere.py'), FileNotFoundError, 'nowhere.py'),
        (dict(cfg_path='mmpretrain::_base_/default_runtime.py'), ValueError, 'no `model`'),
        (dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', num_classes=3), ValueError, 'cfg_options={'),
    ],
)
def test_wrong_cfg_path_is_rejected(config: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        build_model(config)


@pytest.mark.parametrize('reverse', [False, True])
def test_options_of_a_part_and_of_the_whole_both_apply(reverse: bool) -> None:
    options = [('backbone.depth', 34), ('backbone', {'frozen_stages': 1}), ('head.num_classes', 7)]
    model = build_model(dict(classifier(), cfg_options=dict(options[::-1] if reverse else options)))
    assert (model.backbone.depth, model.backbone.frozen_stages, model.head.num_classes) == (34, 1, 7)


def test_an_option_of_a_part_survives_a_replaced_whole() -> None:
    backbone = dict(classifier()['backbone'], _delete_=True)
    model = build_model(dict(classifier(), cfg_options={'backbone.depth': 34, 'backbone': backbone}))
    assert model.backbone.depth == 34


def test_cfg_options_override_a_model_config() -> None:
    config = classifier()
    model = build_model(dict(config, cfg_options={'head.num_classes': 7, 'backbone.init_cfg': None}))
    assert model.head.fc.weight.shape == (7, 32)
    assert config == classifier()


@pytest.mark.parametrize('cfg_path', ['lckd_mm::any/config.py', 'mmdet::any/config.py', 'config.py'])
@pytest.mark.parametrize('default_scope', ['mmpretrain', None])
def test_model_of_a_config_is_built_in_the_default_scope_of_the_config(
    cfg_path: str, default_scope: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dict(model=dict(type='ImageClassifier', backbone=dict(type='LeNet5', num_classes=3)))
    if default_scope is None and cfg_path.startswith('mmdet'):
        # mmdet's own configs need no default scope.
        config['model'] = dict(type='DetDataPreprocessor')
    config['default_scope'] = default_scope
    monkeypatch.setattr('lckd_mm.models.utils.build.read_config', lambda _: Config(config))
    with DefaultScope.overwrite_default_scope('mmpretrain' if default_scope is None else 'mmdet'):
        model = build_model(dict(cfg_path=cfg_path))
    assert type(model).__name__ == config['model']['type']
