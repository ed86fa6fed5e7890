"""A patch that finds configs of OpenMMLab packages under their previous names."""

import functools
import logging
import os
from collections.abc import Callable

from ..errors import ConfigFileNotFoundError, unknown_name
from .patching import patch

# From the history of mmpretrain's configs between v1.0.0rc4 (mmcls) and v1.0.0rc7 (mmpretrain), as `git diff -M` detects it;
# recipes that changed with their name, those of RepVGG and MobileOne for example, are not listed.
_RENAMED = {
    'mmpretrain': {
        '_base_/models/mobilenet_v3_large_imagenet.py': '_base_/models/mobilenet_v3/mobilenet_v3_large_imagenet.py',
        '_base_/models/mobilenet_v3_small_cifar.py': '_base_/models/mobilenet_v3/mobilenet_v3_small_cifar.py',
        '_base_/models/mobilenet_v3_small_imagenet.py': '_base_/models/mobilenet_v3/mobilenet_v3_small_imagenet.py',
        'beit/beit-base-p16_8xb64_in1k.py': 'beit/benchmarks/beit-base-p16_8xb64_in1k.py',
        'beitv2/beitv2-base-p16_8xb64_in1k.py': 'beitv2/benchmarks/beit-base-p16_8xb64_in1k.py',
        'deit/deit-base-distilled_ft-16xb32_in1k-384px.py': 'deit/deit-base-distilled_16xb32_in1k-384px.py',
        'deit/deit-base-distilled_pt-16xb64_in1k.py': 'deit/deit-base-distilled_16xb64_in1k.py',
        'deit/deit-base_ft-16xb32_in1k-384px.py': 'deit/deit-base_16xb32_in1k-384px.py',
        'deit/deit-base_pt-16xb64_in1k.py': 'deit/deit-base_16xb64_in1k.py',
        'deit/deit-small-distilled_pt-4xb256_in1k.py': 'deit/deit-small-distilled_4xb256_in1k.py',
        'deit/deit-small_pt-4xb256_in1k.py': 'deit/deit-small_4xb256_in1k.py',
        'deit/deit-tiny-distilled_pt-4xb256_in1k.py': 'deit/deit-tiny-distilled_4xb256_in1k.py',
        'deit/deit-tiny_pt-4xb256_in1k.py': 'deit/deit-tiny_4xb256_in1k.py',
        'mixmim/mixmim-base_8xb64_in1k.py': 'mixmim/benchmarks/mixmim-base_8xb64_in1k.py',
        'vision_transformer/vit-base-p16_ft-4xb544-ipu_in1k.py': 'vision_transformer/vit-base-p16_4xb544-ipu_in1k.py',
        'vision_transformer/vit-base-p16_ft-64xb64_in1k-384.py': 'vision_transformer/vit-base-p16_64xb64_in1k-384px.py',
        'vision_transformer/vit-base-p16_pt-32xb128-mae_in1k-224.py': 'vision_transformer/vit-base-p16_32xb128-mae_in1k.py',
        'vision_transformer/vit-base-p16_pt-64xb64_in1k-224.py': 'vision_transformer/vit-base-p16_64xb64_in1k.py',
        'vision_transformer/vit-base-p32_ft-64xb64_in1k-384.py': 'vision_transformer/vit-base-p32_64xb64_in1k-384px.py',
        'vision_transformer/vit-base-p32_pt-64xb64_in1k-224.py': 'vision_transformer/vit-base-p32_64xb64_in1k.py',
        'vision_transformer/vit-large-p16_ft-64xb64_in1k-384.py': 'vision_transformer/vit-large-p16_64xb64_in1k-384px.py',
        'vision_transformer/vit-large-p16_pt-64xb64_in1k-224.py': 'vision_transformer/vit-large-p16_64xb64_in1k.py',
        'vision_transformer/vit-large-p32_ft-64xb64_in1k-384.py': 'vision_transformer/vit-large-p32_64xb64_in1k-384px.py',
        'vision_transformer/vit-large-p32_pt-64xb64_in1k-224.py': 'vision_transformer/vit-large-p32_64xb64_in1k.py',
    }
}

# The modules that import the functions by name.
_IMPORTERS = ('mmengine.config.utils', 'mmengine.config.config', 'mmengine.hub.hub')


@patch(
    _IMPORTERS,
    '_get_package_and_cfg_path',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='configs name others by paths that upstream renamed: mmdet::faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py, which is '
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py since mmdet 3.0.0rc2, and mmcls::deit/deit-base_pt-16xb64_in1k.py',
    until='OpenMMLab packages list the previous names of their configs',
)
def mmengine_renamed_configs(original: Callable[[str], tuple[str, str]]) -> Callable[[str], tuple[str, str]]:
    """Return the present path of a renamed config; a path that exists is returned as it is."""

    def _get_package_and_cfg_path(cfg_path: str) -> tuple[str, str]:
        from mmengine.config.utils import MODULE2PACKAGE

        scope, _, path = cfg_path.partition('::')
        if scope in MODULE2PACKAGE and '/' in path and '::' not in path:
            # mmengine refuses the folder `gn+ws` of mmdet.
            package = MODULE2PACKAGE[scope]
        else:
            package, path = original(cfg_path)
        return package, _present_path(package, path)

    return _get_package_and_cfg_path


@patch(
    _IMPORTERS,
    '_get_external_cfg_base_path',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a config that a package does not have is reported as a missing file in site-packages, without similar names',
    until='mmengine suggests names of configs',
)
def mmengine_unknown_configs(original: Callable[[str, str], str]) -> Callable[[str, str], str]:
    """Raise one sentence with similar names."""

    def _get_external_cfg_base_path(package_path: str, cfg_name: str) -> str:
        try:
            return original(package_path, cfg_name)
        except FileNotFoundError as error:
            package = os.path.basename(package_path)
            names = _present_names(_config_folder(package_path)).values()
            raise ConfigFileNotFoundError(unknown_name(f'config of {package}', cfg_name, names)) from error

    return _get_external_cfg_base_path


@functools.cache
def _present_path(package: str, path: str) -> str:
    """Return the path of a config under its present name; the path itself if there is none."""
    # The second function is patched as well.
    from mmengine.utils import get_installed_path, is_installed

    if not is_installed(package):
        return path
    folder = _config_folder(get_installed_path(package))
    if os.path.exists(os.path.join(folder, path)):
        return path
    present = _RENAMED.get(package, {}).get(path) or _present_names(folder).get(_without_separators(path))
    if present is None:
        return path
    from mmengine.logging import print_log

    print_log(f'The config {path!r} of {package} is now {present!r}.', logger='current', level=logging.INFO)
    return present


def _config_folder(package_path: str) -> str:
    return os.path.join(package_path, '.mim', 'configs')


@functools.cache
def _present_names(folder: str) -> dict[str, str]:
    """Return the configs in a folder by their path without separators.

    mmdet 3.0 and mmpretrain 1.0 exchanged underscores and hyphens: ``faster_rcnn_r50_fpn`` to ``faster-rcnn_r50_fpn``,
    ``efficientnet_v2-b0`` to ``efficientnetv2-b0``. No two configs of mmdet 3.3, mmseg 1.2 and mmpretrain 1.2 differ in nothing else.
    """
    paths = sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.endswith('.py')
    )
    return {_without_separators(path): path for path in paths}


def _without_separators(path: str) -> str:
    return path.replace('-', '').replace('_', '')
