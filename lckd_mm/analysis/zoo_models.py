"""The stock models of the installed OpenMMLab packages: one config for each combination of model types."""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch.overrides import TorchFunctionMode

from .stock_configs import PACKAGES

# Parts of a model that compute features, and parts that read them.
_PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'rpn_head', 'bbox_head', 'mask_head', 'roi_head', 'head')
# Models that are not trained on images with annotations, by folders of the modules of their classes, and by parts of their configs.
GROUPS = {
    'tracking': (('mmdet.models.mot', 'mmdet.models.reid', 'mmdet.models.vis'), ('tracker', 'track_head')),
    'self-supervised': (('mmpretrain.models.selfsup',), ()),
    'semi-supervised': (('mmdet.models.detectors.semi_base',), ()),
    'multimodal': (
        (
            'mmpretrain.models.multimodal',
            'mmseg.models.segmentors.multimodal_encoder_decoder',
            'mmseg.models.backbones.vpd',
        ),
        ('language_model', 'text_encoder', 'tokenizer'),
    ),
}
# The extra packages of the multimodal models are not installed: their types are registered as placeholders, or not at all.
_PLACEHOLDER = 'register_multimodal_placeholder'


# Options of proposals and samplers. A small image has few objects.
_NUM_REGIONS = ('nms_pre', 'max_per_img', 'num')
_MAX_REGIONS = 64


class ZooModel(NamedTuple):
    """A combination of model types.

    Attributes:
        package: Name of the package.
        combination: Types of the parts of the model.
        configs: The config files of the package that have it, the one with the smallest backbone first.
        group: ``'tracking'``, ``'self-supervised'``, ``'semi-supervised'`` or ``'multimodal'``; empty for a supervised model of images.
        error: Why the config cannot be read; empty if it can.
    """

    package: str
    combination: str
    configs: list[str]
    group: str = ''
    error: str = ''


def read_model(path: Path) -> dict[str, Any]:
    """Read the model of a stock config; its weights are not loaded, and its images are not resized.

    Args:
        path (Path): A config of an OpenMMLab package.

    Returns:
        dict: The model config, with its scope.
    """
    return _model_of(read_zoo_config(path), package_of(path))


def read_zoo_config(path: Path) -> Config:
    """Read a stock config, also one that inherits a file with a harmless import, which mmengine takes for a config of pure Python."""
    try:
        return Config.fromfile(path)
    except RuntimeError:
        return Config.fromfile(path, lazy_import=False)


def _model_of(cfg: Config, package: str) -> dict[str, Any]:
    model: dict[str, Any] = without_weights(cfg['model'])
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', without_weights(cfg.data_preprocessor))
    # Some files leave out the scope, which the package implies.
    model['_scope_'] = cfg.get('default_scope') or package or 'mmengine'
    return model


def package_of(path: Path) -> str:
    """Return the package of a stock config; empty for another file."""
    return next((part for part in reversed(path.parts) if part in PACKAGES), '')


def without_weights(part: Any) -> Any:
    """Return a copy of a model config that names no pretrained weights, no layers of distributed training, no size and few regions.

    Example:
        >>> without_weights(dict(type='ResNet', init_cfg=dict(type='Pretrained'), norm_cfg=dict(type='MMSyncBN')))
        {'type': 'ResNet', 'norm_cfg': {'type': 'BN'}}
        >>> without_weights(dict(batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024))]))
        {'batch_augments': []}
        >>> without_weights(dict(train_cfg=dict(rcnn=dict(sampler=dict(num=512, pos_fraction=0.25)))))
        {'train_cfg': {'rcnn': {'sampler': {'num': 64, 'pos_fraction': 0.25}}}}
    """
    if part == 'MMSyncBN':
        # This layer can only be built in a distributed training.
        return 'BN'
    if isinstance(part, dict):
        return type(part)(
            {
                key: _TRANSFORMS.get(key, without_weights)(value)
                for key, value in part.items()
                if key not in ('init_cfg', 'pretrained')
            }
        )
    return type(part)(map(without_weights, part)) if isinstance(part, (list, tuple)) else part


def _without_size(augments: Any) -> Any:
    """Return the augmentations of a batch without those that pad or resize it to the images of a training."""
    is_list = isinstance(augments, (list, tuple))
    return (
        [augment for augment in augments if not {'size', 'scale', 'random_size_range'} & set(augment)]
        if is_list
        else augments
    )


def _with_few_regions(part: Any) -> Any:
    """Return the training settings of the heads of a detector with fewer proposals and samples, which take most of the time on a CPU."""
    if isinstance(part, dict):
        return type(part)(
            {key: _few(value) if key in _NUM_REGIONS else _with_few_regions(value) for key, value in part.items()}
        )
    return type(part)(map(_with_few_regions, part)) if isinstance(part, (list, tuple)) else part


def _few(count: Any) -> Any:
    return min(count, _MAX_REGIONS) if isinstance(count, int) and count > 0 else count


# A small image has fewer positions than DINO has queries.
_TRANSFORMS = {'batch_augments': _without_size, 'train_cfg': _with_few_regions, 'num_queries': _few}


def combination(model: Mapping[str, Any]) -> str:
    """Return the types of the parts of a model, which configs of different data sets and schedules share.

    Example:
        >>> combination(dict(type='ImageClassifier', backbone=dict(type='VGG', depth=11), head=dict(type='ClsHead')))
        'ImageClassifier, VGG, ClsHead'
    """
    kinds = [model.get('type'), *(model.get(part) for part in _PARTS)]
    # Algorithms that contain a detector differ in it.
    kinds += [] if model.get('backbone') else [value for value in model.values() if isinstance(value, dict)]
    return ', '.join(filter(None, map(_types, kinds)))


def _types(part: Any) -> str:
    if isinstance(part, (list, tuple)):
        return ' + '.join(dict.fromkeys(filter(None, map(_types, part))))
    kind = part.get('type', '') if isinstance(part, dict) else part
    return kind if isinstance(kind, str) else getattr(kind, '__name__', '')


def group_of(model: Mapping[str, Any]) -> str:
    """Return the group of a model, see :class:`ZooModel`.

    Example:
        >>> group_of(dict(type='mmdet.ByteTrack')), group_of(dict(type='mmdet.RetinaNet'))
        ('tracking', '')
    """
    with DefaultScope.overwrite_default_scope(model.get('_scope_') or 'mmengine'):
        kinds = [_class_of(part) for part in (model, *(part for part in model.values() if isinstance(part, dict)))]
    names = [
        [f'{base.__module__}.{base.__qualname__}' for base in getattr(kind, '__mro__', [kind])]
        for kind in kinds
        if kind
    ]
    if any(_PLACEHOLDER in name for bases in names for name in bases):
        return 'multimodal'
    for group, (modules, parts) in GROUPS.items():
        # The backbone of a self-supervised training may be that of a classifier.
        candidates = names[:1] if group == 'self-supervised' else names
        if any(name.startswith(modules) for bases in candidates for name in bases) or any(
            part in model for part in parts
        ):
            return group
    return ''


def _class_of(part: Mapping[str, Any]) -> Any:
    kind = part.get('type')
    if not isinstance(kind, str):
        return kind
    with MODELS.switch_scope_and_registry(None) as registry:
        try:
            return registry.get(kind)
        except Exception:
            return None


def plan_zoo(paths: Iterable[Path]) -> list[ZooModel]:
    """Group config files by the combination of their model types; files without a model are left out.

    Args:
        paths (Iterable[Path]): Config files.

    Returns:
        list[ZooModel]: The combinations, sorted by package and name.
    """
    models: dict[tuple[str, str], ZooModel] = {}
    sizes: dict[str, float] = {}
    for path in paths:
        package = package_of(path)
        try:
            cfg = read_zoo_config(path)
        except Exception as error:
            models[package, str(path)] = ZooModel(package, path.stem, [str(path)], error=describe(error))
            continue
        # A file of a schedule or of test-time augmentation has none.
        if cfg.get('model') is None:
            continue
        model = _model_of(cfg, package)
        zoo_model = ZooModel(package, combination(model), [], group_of(model))
        zoo_model = models.setdefault((package, zoo_model.combination), zoo_model)
        zoo_model.configs.append(str(path))
        sizes[str(path)] = _backbone_size(model)
    for zoo_model in models.values():
        zoo_model.configs.sort(key=lambda config: (sizes.get(config, 0), config))
    return [models[key] for key in sorted(models)]


class _DropPathRates(TorchFunctionMode):
    """Compute the rates of stochastic depth, which a transformer reads when it is built, although other tensors have no memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        return func(*args, **(dict(kwargs, device='cpu') if func is torch.linspace else kwargs))


_SIZES: dict[str, float] = {}


def _backbone_size(model: Mapping[str, Any]) -> float:
    """Return the number of parameters of a backbone; infinite if it cannot be built without memory, or is not for training."""
    backbone = model.get('backbone') or (model.get('detector') or {}).get('backbone') or {}
    if backbone.get('deploy'):
        # The merged form of a network that is trained in another form.
        return float('inf')
    key = json.dumps([model['_scope_'], backbone], sort_keys=True, default=repr)
    if key not in _SIZES:
        try:
            with DefaultScope.overwrite_default_scope(model['_scope_']), torch.device('meta'), _DropPathRates():
                built = MODELS.build(copy.deepcopy(dict(backbone)))
            _SIZES[key] = sum(parameter.numel() for parameter in built.parameters())
        except Exception:
            _SIZES[key] = float('inf')
    return _SIZES[key]


def describe(error: BaseException) -> str:
    """Return the class of an exception and the beginning of its message in one line, without the folder of the installed packages.

    Example:
        >>> describe(OSError('no file env/site-packages/mmdet/a.py'))
        'OSError: no file mmdet/a.py'
    """
    message = re.sub(r'[^\s\'"]*/site-packages/', '', ' '.join(str(error).split()))
    return f'{type(error).__name__}: {message[:300]}'
