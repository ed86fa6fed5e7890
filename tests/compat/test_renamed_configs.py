"""Configs that OpenMMLab packages renamed, and configs that do not exist."""

from pathlib import Path

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config
from mmengine.utils import get_installed_path

from lckd_mm.compat.renamed_configs import _RENAMED, _without_separators
from lckd_mm.errors import ConfigFileNotFoundError
from lckd_mm.models.utils import build_model, read_config

RENAMED = [
    ('mmdet::faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    ('mmdet::faster-rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    ('mmcls::deit/deit-base_pt-16xb64_in1k.py', 'deit/deit-base_16xb64_in1k.py'),
    ('mmcls::efficientnet_v2/efficientnet_v2-b0_8xb32_in1k.py', 'efficientnet_v2/efficientnetv2-b0_8xb32_in1k.py'),
]


def _folder(package: str) -> Path:
    return Path(get_installed_path(package)) / '.mim' / 'configs'


@pytest.mark.parametrize(('old', 'new'), RENAMED)
def test_a_renamed_config_is_found(old: str, new: str, tmp_path: Path) -> None:
    assert get_config(old).filename.endswith(new)
    (tmp_path / 'child.py').write_text(f'_base_ = {old!r}\nmark = 1\n')
    cfg = Config.fromfile(tmp_path / 'child.py')
    assert (cfg.mark, cfg.model.type) == (1, read_config(old).model.type)


def test_a_folder_that_mmengine_refuses_is_found() -> None:
    path = 'gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py'
    assert get_config(f'mmdet::{path}').filename.endswith(path)


def test_a_name_without_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match='please specify the package name'):
        get_config('mmdet::faster-rcnn_r50_fpn_1x_coco.py')


def test_the_published_weights_of_a_renamed_config_are_found() -> None:
    cfg = get_config(RENAMED[0][0], pretrained=True)
    assert cfg.model_path.endswith('faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth')


def test_the_table_contains_no_present_name_and_only_present_targets() -> None:
    for package, names in _RENAMED.items():
        for old, new in names.items():
            assert not (_folder(package) / old).exists()
            assert (_folder(package) / new).exists()


@pytest.mark.parametrize('package', ['mmdet', MODULE2PACKAGE['mmseg'], 'mmpretrain'])
def test_no_two_configs_differ_in_separators_alone(package: str) -> None:
    names = [_without_separators(str(path.relative_to(_folder(package)))) for path in _folder(package).rglob('*.py')]
    assert len(names) > 700
    assert len(names) == len(set(names))


@pytest.mark.parametrize('read', [get_config, read_config, lambda path: build_model(dict(cfg_path=path))])
def test_a_config_that_never_existed_is_one_sentence(read) -> None:
    with pytest.raises(ConfigFileNotFoundError) as caught:
        read('mmdet::retinanet/retinanet_r51_fpn_1x_coco.py')
    message = str(caught.value)
    assert message.startswith("config of mmdet 'retinanet/retinanet_r51_fpn_1x_coco.py' is unknown; did you mean ")
    assert "'retinanet/retinanet_r50_fpn_1x_coco.py'" in message
    assert '\n' not in message


def test_a_base_that_never_existed_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / 'child.py').write_text("_base_ = 'mmcls::resnet/resnet19_8xb32_in1k.py'\n")
    with pytest.raises(ConfigFileNotFoundError, match=r"config of mmpretrain .*'resnet/resnet18_8xb32_in1k.py'"):
        Config.fromfile(tmp_path / 'child.py')
    with pytest.raises(ConfigFileNotFoundError, match='did you mean'):
        read_config(str(tmp_path / 'child.py'))


def test_a_package_that_is_not_installed_is_reported() -> None:
    with pytest.raises(ConfigFileNotFoundError, match="'mmdet3d', which is not installed"):
        read_config('mmdet3d::fcos3d/fcos3d_r101.py')
