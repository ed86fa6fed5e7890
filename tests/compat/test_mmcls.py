"""The name mmcls for mmpretrain."""

import importlib
import sys
from pathlib import Path
from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import mmpretrain.models.utils
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, VISUALIZERS, DefaultScope, init_default_scope
from mmpretrain.models import ImageClassifier, LabelSmoothLoss
from mmrazor.models.task_modules import FunctionOutputsRecorder
from mmrazor.registry import MODELS as RAZOR_MODELS
from mmrazor.registry import TRANSFORMS

from lckd_mm.compat import PATCHES, mmcls

CLASSIFIER = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=512),
)


def test_mmcls_and_its_submodules_are_views_of_those_of_mmpretrain() -> None:
    import mmcls.models.losses.label_smooth_loss as losses
    from mmcls.datasets.transforms.formatting import PackClsInputs
    from mmcls.models import ImageClassifier as MMClsImageClassifier
    from mmcls.structures.cls_data_sample import ClsDataSample
    from mmcls.visualization import ClsVisualizer

    assert MMClsImageClassifier is ImageClassifier
    assert losses.LabelSmoothLoss is LabelSmoothLoss
    assert [kind.__name__ for kind in (PackClsInputs, ClsDataSample, ClsVisualizer)] == [
        'PackInputs',
        'DataSample',
        'UniversalVisualizer',
    ]
    assert 'ImageClassifier' in dir(sys.modules['mmcls.models'])
    with pytest.raises(ModuleNotFoundError, match=r'mmcls\.nothing'):
        importlib.import_module('mmcls.nothing')
    with pytest.raises(AttributeError, match='nothing'):
        _ = sys.modules['mmcls.models'].nothing


def test_functions_of_mmcls_are_recorded_where_mmpretrain_calls_them() -> None:
    recorder = FunctionOutputsRecorder('mmcls.models.utils.channel_shuffle.channel_shuffle')
    recorder.initialize()
    module = sys.modules['mmpretrain.models.utils.channel_shuffle']
    before = module.channel_shuffle
    with recorder:
        module.channel_shuffle(torch.arange(4.0).view(1, 4, 1, 1), 2)
    assert recorder.get_record_data().flatten().tolist() == [0, 2, 1, 3]
    assert module.channel_shuffle is before


def test_a_function_with_the_name_of_its_module_is_the_function() -> None:
    importlib.import_module('mmcls.models.utils.channel_shuffle')
    from mmcls.models.utils import channel_shuffle

    assert channel_shuffle is mmpretrain.models.utils.channel_shuffle
    structures = importlib.import_module('mmcls.structures')
    assert importlib.import_module('mmcls').structures is structures


def test_mmrazor_has_no_placeholders_of_mmcls() -> None:
    pack = TRANSFORMS.get('PackCRDClsInputs')()
    for index in (5, 6):
        results = dict(img=torch.zeros(4, 4, 3).numpy(), gt_label=1, sample_idx=index, img_path=f'{index}.png')
        sample = pack(results)['data_samples']
        assert (sample.sample_idx.item(), sample.gt_label.item(), sample.img_path) == (index, 1, f'{index}.png')
    loss = RAZOR_MODELS.build(dict(type='mmrazor.KDSoftCELoss'))
    assert loss(torch.zeros(2, 3), torch.zeros(2, 3)).item() == pytest.approx(torch.log(torch.tensor(3.0)).item())


@pytest.mark.parametrize('scope', ['mmrazor', 'mmengine', 'mmcls', 'mmdet'])
@pytest.mark.parametrize('registry', [MODELS, RAZOR_MODELS])
def test_a_classifier_of_mmcls_is_built_in_any_default_scope(scope: str, registry: Any) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        assert isinstance(registry.build({**CLASSIFIER, '_scope_': 'mmcls'}), ImageClassifier)
        prefixed = {key: dict(part, type=f'mmcls.{part["type"]}') for key, part in CLASSIFIER.items() if key != 'type'}
        assert isinstance(registry.build(dict(prefixed, type='mmcls.ImageClassifier')), ImageClassifier)


def test_mmcls_is_a_default_scope() -> None:
    init_default_scope('mmcls')
    assert isinstance(MODELS.build(dict(CLASSIFIER)), ImageClassifier)
    visualizer = VISUALIZERS.build(dict(type='ClsVisualizer', name='of_mmcls'))
    assert type(visualizer).__name__ == 'UniversalVisualizer'


def test_a_config_of_mmcls_is_inherited(tmp_path: Path) -> None:
    (tmp_path / 'child.py').write_text("_base_ = 'mmcls::resnet/resnet18_8xb16_cifar10.py'\n")
    cfg = Config.fromfile(tmp_path / 'child.py')
    assert cfg.model._scope_ == 'mmcls'
    assert isinstance(MODELS.build(cfg.model), ImageClassifier)


@pytest.fixture
def installed_mmcls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package mmcls in a folder that is added to the path; nothing of mmpretrain has been imported under this name."""
    (tmp_path / 'mmcls').mkdir()
    for name in ('__init__', 'part'):
        (tmp_path / 'mmcls' / f'{name}.py').write_text(f'MARK = {name!r}\n')
    for name in [name for name in sys.modules if name.partition('.')[0] == 'mmcls']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures('installed_mmcls')
def test_an_mmcls_that_is_installed_later_is_not_shadowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mark in (('mmcls', '__init__'), ('mmcls.part', 'part')):
        module = importlib.import_module(name)
        monkeypatch.setitem(sys.modules, name, module)
        assert mark == module.MARK
    with pytest.raises(ModuleNotFoundError, match=r'mmcls\.models'):
        importlib.import_module('mmcls.models')


@pytest.mark.usefixtures('installed_mmcls')
def test_no_patch_is_needed_where_mmcls_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'meta_path', [finder for finder in sys.meta_path if not isinstance(finder, mmcls._Finder)])
    assert not mmcls._is_missing.__wrapped__()
    monkeypatch.setattr(sys, 'path', [path for path in sys.path if not (Path(path) / 'mmcls').exists()])
    assert mmcls._is_missing.__wrapped__()


def test_the_patches_are_applied_where_mmcls_is_missing() -> None:
    patches = [patch for name, patch in PATCHES.items() if name.startswith('mmcls')]
    assert len(patches) == 5
    assert all(patch.is_applied and patch.is_needed is mmcls._is_missing for patch in patches)
