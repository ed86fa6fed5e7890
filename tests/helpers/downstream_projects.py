"""Three projects that inherit configs of lckd_mm, each with a copy of a codebase's training script, which never imports lckd_mm."""

import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

# A teacher without a checkpoint, and one short epoch.
_SHORT = """
model = dict(teacher_ckpt=None, allow_random_teacher=True)
train_cfg = dict(max_epochs=1)
"""


@dataclass(frozen=True)
class Project:
    """A project of another team.

    Args:
        codebase (str): The package whose `tools/train.py` the project has copied.
        config (str): Its config `mine.py`; ``{configs}`` stands for the folder of lckd_mm's configs.
        runner (tuple[str, ...]): Arguments of the interpreter before the script.
        metric (str): The metric that its validation logs.
        files (dict[str, str]): Further files by path.
    """

    codebase: str
    config: str
    runner: tuple[str, ...]
    metric: str
    files: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path, configs: Path) -> None:
        """Write the project into a folder; ``configs`` is the folder of lckd_mm's configs."""
        package = Path(next(iter(find_spec(self.codebase).submodule_search_locations)))
        (folder / 'tools').mkdir()
        shutil.copy(package / '.mim' / 'tools' / 'train.py', folder / 'tools')
        for path, text in {'mine.py': self.config.replace('{configs}', str(configs)) + _SHORT, **self.files}.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)


RUN = ('-m', 'lckd_mm', 'run')

OWN_REGISTRY = Project(
    codebase='mmdet',
    config="""
_base_ = 'lckd_mm::bccd/ofd_faster_rcnn_r50_r18_bccd.py'
default_scope = 'cells'
model = dict(architecture=dict(backbone=dict(type='cells.CellNet')))
data = dict(type='cells.CellDataset')
train_dataloader = dict(batch_size=1, dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
""",
    runner=RUN,
    metric='pascal_voc/mAP',
    files={
        'cells/__init__.py': '',
        'cells/registry.py': """
from mmengine.registry import DATASETS as PARENT_DATASETS, MODELS as PARENT_MODELS, Registry
DATASETS = Registry('dataset', parent=PARENT_DATASETS, scope='cells', locations=['cells.components'])
MODELS = Registry('model', parent=PARENT_MODELS, scope='cells', locations=['cells.components'])
""",
        'cells/components.py': """
from mmdet.datasets import XMLDataset
from mmdet.models import ResNet
from .registry import DATASETS, MODELS

@DATASETS.register_module()
class CellDataset(XMLDataset):
    METAINFO = dict(classes=('RBC', 'WBC', 'Platelets'))

@MODELS.register_module()
class CellNet(ResNet):
    pass
""",
    },
)

OWN_DATASET = Project(
    codebase='mmseg',
    config="""
_base_ = 'lckd_mm::camvid/lipschitz_ofd_balanced_deeplabv3plus_r18w32_r18w8_camvid.py'
custom_imports = dict(imports=['streets'])
data = dict(type='StreetDataset')
train_dataloader = dict(batch_size=2, dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
""",
    runner=RUN,
    metric='mIoU',
    files={
        'streets.py': """
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

@DATASETS.register_module()
class StreetDataset(BaseSegDataset):
    pass
"""
    },
)

# Its config inherits a file, so that the script is run without `python -m lckd_mm`.
INHERITED_FILE = Project(
    codebase='mmpretrain',
    config="""
_base_ = '{configs}/cifar10/lipschitz_balanced_wrn28_4_wrn16_2_cifar10.py'
train_dataloader = dict(batch_size=2)
""",
    runner=(),
    metric='accuracy/top1',
)
