"""Wrong data sets and checkpoints end a command with one sentence that names the file and the fix."""

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.refusals import check_refusal, run_command, training, write_case, write_workspace
from tests.helpers.small_classifiers import classifier

PLAIN = {'model': classifier()}
DATASET = 'train_dataloader.dataset'
VOC = {
    DATASET: dict(
        type='mmdet.VOCDataset',
        data_root='ROOT/',
        ann_file='lists/train.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=('cat',)),
        pipeline=[],
    )
}
COCO = {
    DATASET: dict(
        type='mmdet.CocoDataset',
        data_root='ROOT/',
        ann_file='coco.json',
        data_prefix=dict(img='JPEGImages'),
        pipeline=[],
    )
}
IMAGE = dict(id=1, file_name='first.jpg', width=64, height=64)
CATEGORIES = [dict(id=1, name='person')]


def write(name: str, text: str) -> Callable[[Path], Any]:
    return lambda root: (root / name).write_text(text)


def write_coco(**content: Any) -> Callable[[Path], Any]:
    return write('coco.json', json.dumps(content))


def nothing(root: Path) -> None:
    pass


# Changes of the files, changes of the config, and what the sentence contains.
DATA: dict[str, tuple[Callable[[Path], Any], dict[str, Any], tuple[str, ...]]] = {
    'broken XML': (
        write('Annotations/first.xml', '<annotation><object>'),
        VOC,
        ('Annotations/first.xml', 'correct the file'),
    ),
    'empty XML': (write('Annotations/first.xml', ''), VOC, ('Annotations/first.xml', 'correct the file')),
    'XML with text in place of a number': (
        write('Annotations/first.xml', '<annotation><size><width>w</width><height>6</height></size></annotation>'),
        VOC,
        ('Annotations/first.xml', "'w'"),
    ),
    'missing XML': (
        lambda root: (root / 'Annotations/first.xml').unlink(),
        VOC,
        ('Annotations/first.xml', 'does not exist'),
    ),
    'empty list': (write('lists/train.txt', ''), VOC, ('has no images', 'lists/train.txt')),
    'list in place of a text file': (write('lists/train.txt', '\x00\x01'), VOC, ('lists/train.txt',)),
    'missing list': (nothing, {**VOC, f'{DATASET}.ann_file': 'lists/nothing.txt'}, ('lists/nothing.txt', 'data_root')),
    'folder in place of a list': (nothing, {**VOC, f'{DATASET}.ann_file': 'lists'}, ('lists', 'VOCDataset')),
    'missing image folder': (nothing, {f'{DATASET}.data_prefix': 'nothing'}, ('ROOT/nothing', 'data_root')),
    'empty image folder': (nothing, {f'{DATASET}.data_prefix': 'empty'}, ('ROOT/empty', 'CustomDataset')),
    'missing data_root': (nothing, {f'{DATASET}.data_root': 'ROOT/nothing'}, ('ROOT/nothing', 'data_root')),
    'missing validation data': (
        nothing,
        {'val_dataloader.dataset.data_root': '/nothing'},
        ('val_dataloader', '/nothing'),
    ),
    'missing masks': (
        nothing,
        {
            DATASET: dict(
                type='mmseg.BaseSegDataset',
                data_root='ROOT',
                data_prefix=dict(img_path='JPEGImages', seg_map_path='masks'),
                metainfo=dict(classes=('a',), palette=[[0, 0, 0]]),
                pipeline=[],
            )
        },
        ('ROOT/masks', 'train_dataloader'),
    ),
    'broken JSON': (write('coco.json', '{"images": ['), COCO, ('coco.json', 'JSONDecodeError')),
    'empty JSON': (write('coco.json', ''), COCO, ('coco.json', 'JSONDecodeError')),
    'JSON without images': (write_coco(annotations=[], categories=CATEGORIES), COCO, ('coco.json', 'has no images')),
    'JSON without categories': (write_coco(images=[IMAGE], annotations=[]), COCO, ('coco.json', 'categories')),
    'JSON with a list': (write('coco.json', '[]'), COCO, ('coco.json', 'list')),
    'JSON with an empty list of images': (
        write_coco(images=[], annotations=[], categories=CATEGORIES),
        COCO,
        ('has no images', 'coco.json'),
    ),
    'unreadable image': (write('train/zero/0.png', ''), {}, ('train/zero/0.png', 'replace the file')),
    'text in place of an image': (write('train/zero/0.png', 'text'), {}, ('train/zero/0.png', 'replace the file')),
    'no full batch': (
        nothing,
        {'train_dataloader.drop_last': True, 'train_dataloader.batch_size': 7},
        ('batch_size=7', 'at most 6'),
    ),
}

# A value of `load_from`, `--resume`, `teacher_ckpt` or of the checkpoint of `test`, and what the sentence contains.
CHECKPOINTS = {
    'missing': ('ROOT/nothing.pth', ('ROOT/nothing.pth', 'does not exist')),
    'folder': ('ROOT/work', ('ROOT/work', 'is a folder', 'epoch_1.pth')),
    'folder without checkpoints': ('ROOT/empty', ('ROOT/empty', 'is a folder', 'none')),
    'empty file': ('ROOT/empty.pth', ('ROOT/empty.pth', 'not a checkpoint')),
    'text': ('ROOT/text.pth', ('ROOT/text.pth', 'not a checkpoint')),
    'image': ('ROOT/JPEGImages/first.jpg', ('first.jpg', 'not a checkpoint')),
    'another model': ('ROOT/wide.pth', ('ROOT/wide.pth', 'shape')),
    'list of tensors': ('ROOT/list.pth', ('ROOT/list.pth',)),
    'server that does not exist': ('http://127.0.0.1:9/model.pth', ('http://127.0.0.1:9/model.pth', 'local file')),
}


@pytest.fixture(scope='module')
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('data')
    write_workspace(folder)
    torch.save([torch.zeros(2)], folder / 'list.pth')
    return folder


@pytest.fixture
def root(workspace: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, whose files a test changes."""
    return Path(shutil.copytree(workspace, tmp_path / 'data'))


def in_root(value: Any, root: Path) -> Any:
    """Replace ROOT in all strings of a config."""
    if isinstance(value, dict):
        return {key: in_root(each, root) for key, each in value.items()}
    return value.replace('ROOT', str(root)) if isinstance(value, str) else value


@pytest.mark.parametrize('name', DATA)
def test_wrong_data_end_a_training_with_one_sentence(name: str, root: Path, capsys: pytest.CaptureFixture) -> None:
    change, options, words = DATA[name]
    change(root)
    check_refusal(training(write_case(root, in_root({**PLAIN, **options}, root)), root), words, root, capsys)


def test_wrong_image_is_named_by_a_worker(root: Path, capsys: pytest.CaptureFixture) -> None:
    (root / 'train/zero/0.png').write_text('text')
    config = write_case(root, {**PLAIN, 'train_dataloader.num_workers': 1})
    check_refusal(training(config, root), ('train/zero/0.png', 'replace the file'), root, capsys)


@pytest.mark.parametrize(
    ('option', 'name'),
    [
        *(('load_from', name) for name in CHECKPOINTS),
        ('model.teacher_ckpt', 'missing'),
        ('init_cfg', 'text'),
        ('resume', 'another model'),
        ('test', 'list of tensors'),
        *(
            pytest.param(option, name, marks=pytest.mark.slow)
            for option, name in product(
                ('model.teacher_ckpt', 'init_cfg', 'resume', 'test'),
                ('folder', 'text', 'another model', 'list of tensors'),
            )
        ),
    ],
)
def test_wrong_checkpoint_ends_with_one_sentence(
    option: str, name: str, root: Path, capsys: pytest.CaptureFixture
) -> None:
    value, words = CHECKPOINTS[name]
    value = value.replace('ROOT', str(root))
    changes: dict[str, Any] = dict(PLAIN) if option == 'load_from' else {}
    if option == 'init_cfg':
        changes = {
            'model.architecture.backbone.init_cfg': dict(type='Pretrained', prefix='backbone.', checkpoint=value)
        }
    elif option not in ('resume', 'test'):
        changes |= {option: value}
    config = write_case(root, changes)
    command = training(config, root, *(['--resume', value] if option == 'resume' else []))
    if option == 'test':
        command[:2] = ['test', str(config), value]
    if name == 'another model':
        words = {
            'init_cfg': ('ROOT/wide.pth', 'prefix'),
            'resume': ('ROOT/wide.pth', 'cannot resume', 'without resume'),
        }.get(option, words)
    check_refusal(command, words, root, capsys)


@pytest.mark.parametrize('option', ['load_from', 'model.teacher_ckpt'])
@pytest.mark.parametrize('value', [['a.pth'], 3, dict(path='a.pth')])
def test_value_that_is_no_path_ends_with_one_sentence(
    value: Any, option: str, root: Path, capsys: pytest.CaptureFixture
) -> None:
    config = write_case(root, {option: value})
    check_refusal(training(config, root), (repr(value), 'path or URL'), root, capsys)


def test_training_that_diverges_ends_and_keeps_its_last_checkpoint(root: Path, capsys: pytest.CaptureFixture) -> None:
    """The learning rate makes the weights of the first epoch infinite."""
    config = write_case(
        root, {'optim_wrapper.optimizer.lr': 1e30, 'train_cfg.max_epochs': 5, 'train_dataloader.batch_size': 2}
    )
    check_refusal(
        training(config, root), ('diverged at iteration', 'lower the learning rate', "'backbone.layer"), root, capsys
    )
    assert run_command(training(write_case(root, {}), root), capsys).status == 0
