"""Wrong values in a config end the training before its first step, with one sentence that names value, valid values and fix."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.refusals import check_refusal, run_command, training, write_case, write_workspace

DISTILLER = 'model.distiller'
OPTIMIZER = 'optim_wrapper.optimizer'

# Changes of a valid config, and what the sentence contains.
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # Types and scopes
    'no default_scope': ({'default_scope': ...}, ("'CustomDataset'", "default_scope='mmpretrain'")),
    'misspelt model': (
        {'model.architecture.type': 'mmpretrain.ImageClasifier'},
        ("'mmpretrain.ImageClasifier'", "'ImageClassifier'"),
    ),
    'misspelt backbone': ({'model.architecture.backbone.type': 'ResNett'}, ("'ResNett'", "'ResNet'")),
    'misspelt data set': ({'train_dataloader.dataset.type': 'CustomDatset'}, ("'CustomDatset'", "'CustomDataset'")),
    'misspelt transform': (
        {'train_dataloader.dataset.pipeline': [dict(type='LoadImageFromFil')]},
        ("'LoadImageFromFil'", "'LoadImageFromFile'"),
    ),
    'misspelt sampler': (
        {'train_dataloader.sampler.type': 'DefaultSampeler'},
        ("'DefaultSampeler'", "'DefaultSampler'"),
    ),
    'misspelt collate_fn': (
        {'train_dataloader.collate_fn.type': 'default_colate'},
        ("'default_colate'", "'default_collate'"),
    ),
    'misspelt optimizer': ({f'{OPTIMIZER}.type': 'SDG'}, ("'SDG'", "'SGD'")),
    'misspelt wrapper': ({'optim_wrapper.type': 'OptimWraper'}, ("'OptimWraper'", "'OptimWrapper'")),
    'misspelt scheduler': (
        {'param_scheduler': [dict(type='MultiStepLr', milestones=[1])]},
        ("'MultiStepLr'", "'MultiStepLR'"),
    ),
    'misspelt metric': ({'val_evaluator.type': 'Acuracy'}, ("'Acuracy'", "'Accuracy'")),
    'misspelt hook': ({'custom_hooks': [dict(type='EMAHok')]}, ("'EMAHok'", "'EMAHook'")),
    'misspelt visualizer': (
        {'visualizer': dict(type='UniversalVisualizr')},
        ("'UniversalVisualizr'", "'UniversalVisualizer'"),
    ),
    'misspelt loop': (
        {'train_cfg': dict(type='EpochBasedTrainLop')},
        ("'EpochBasedTrainLop'", "'EpochBasedTrainLoop'"),
    ),
    'misspelt runner': ({'runner_type': 'FlexibleRuner'}, ("'FlexibleRuner'", "'FlexibleRunner'")),
    'hook without a type': ({'custom_hooks': [dict(interval=3)]}, ('"interval": 3', '`type`')),
    'misspelt module': ({'custom_imports': dict(imports=['my_modul_xyz'])}, ('my_modul_xyz',)),
    # Options
    'unknown option of a backbone': ({'model.architecture.backbone.dept': 18}, ("'dept'", "'depth'")),
    'unknown option of a teacher': ({'model.teacher.nek': None}, ("'nek'", "'neck'")),
    'unknown option of the algorithm': ({'model.teacher_chpt': 'x.pth'}, ("'teacher_chpt'", "'teacher_ckpt'")),
    'unknown option of the distiller': ({f'{DISTILLER}.tap': ['backbone.layer1']}, ("'tap'", "'taps'")),
    'unknown option of an optimizer': ({f'{OPTIMIZER}.momentun': 0.9}, ("'momentun'", "'momentum'")),
    'unknown option of a hook': ({'default_hooks.logger.intervall': 1}, ("'intervall'", "'interval'")),
    'missing option': ({'model.architecture.head.num_classes': ...}, ('num_classes',)),
    'invalid depth': ({'model.architecture.backbone.depth': 17}, ('depth=17', 'invalid depth 17')),
    'depth of a wrong type': ({'model.architecture.backbone.depth': 'deep'}, ("depth='deep'",)),
    'width of a wrong type': ({'model.architecture.backbone.base_channels': 'wide'}, ("base_channels='wide'",)),
    'negative learning rate': ({f'{OPTIMIZER}.lr': -0.1}, ('lr=-0.1', 'SGD')),
    'learning rate of a wrong type': ({f'{OPTIMIZER}.lr': 'fast'}, ("lr='fast'", 'SGD')),
    'scheduler that ends before it begins': (
        {'param_scheduler': [dict(type='LinearLR', start_factor=0.1, begin=10, end=5, by_epoch=False)]},
        ('begin=10', 'end=5', 'LinearLR'),
    ),
    'scheduler by iterations that ends before it begins': (
        {
            'param_scheduler': [
                dict(type='CosineAnnealingLR', T_max=1, begin=3, end=3, by_epoch=True, convert_to_iter_based=True)
            ]
        },
        ('begin=3', 'end=3', 'CosineAnnealingLR'),
    ),
    'scheduler without milestones': ({'param_scheduler': [dict(type='MultiStepLR')]}, ("'milestones'", 'MultiStepLR')),
    # The distiller
    'taps as a string': (
        {f'{DISTILLER}.taps': 'backbone.layer1'},
        ("taps='backbone.layer1' is a str", "['backbone.layer1']"),
    ),
    'taps as a number': ({f'{DISTILLER}.taps': 4}, ('taps=4 is a int', 'list of layers')),
    'taps of a loss as a string': (
        {f'{DISTILLER}.losses': [dict(type='pkd', taps='backbone.layer4')]},
        ("'backbone.layer4'", "['backbone.layer4']"),
    ),
    'tap as a number': ({f'{DISTILLER}.taps': ['backbone.layer1', 2]}, ('the tap 2 is a int', 'name of a module')),
    'misspelt tap': (
        {f'{DISTILLER}.taps': ['backbone.layer1', 'backbone.layr2']},
        ("'backbone.layr2'", "'backbone.layer2'"),
    ),
    'tap on a list of modules': (
        {
            'model.architecture.backbone': dict(type='VisionTransformer', arch='deit-t', img_size=32, patch_size=16),
            'model.architecture.neck': None,
            'model.architecture.head': dict(type='VisionTransformerClsHead', num_classes=3, in_channels=192),
            f'{DISTILLER}.student_taps': ['backbone.layers', 'backbone.layers.5'],
            f'{DISTILLER}.teacher_taps': ['backbone.layer1', 'backbone.layer2'],
        },
        ("'backbone.layers' is a ModuleList", "'backbone.layers.11'"),
    ),
    'a single tap': ({f'{DISTILLER}.taps': ['backbone.layer1']}, ('at least 2 taps',)),
    'one tap twice': ({f'{DISTILLER}.taps': ['backbone.layer1'] * 2}, ("'backbone.layer1'",)),
    'different numbers of taps': (
        {
            f'{DISTILLER}.student_taps': ['backbone.layer1'],
            f'{DISTILLER}.teacher_taps': ['backbone.layer1', 'backbone.layer2'],
        },
        ('the student has 1 taps', 'the teacher 2'),
    ),
    'no taps': ({f'{DISTILLER}.taps': ...}, ('has no taps',)),
    'misspelt method': ({f'{DISTILLER}.losses': ['lipshitz']}, ("'lipshitz'", "'lipschitz'")),
    'method as a number': ({f'{DISTILLER}.losses': [3]}, ('the entry 3 of losses is a int',)),
    'losses as a string': ({f'{DISTILLER}.losses': 'lipschitz'}, ("losses='lipschitz' is a str", "['lipschitz']")),
    'weight as the value of a method': ({f'{DISTILLER}.losses': dict(lipschitz=0.5)}, ('0.5', 'dict(loss_weight=1.0)')),
    'unknown option of a method': (
        {f'{DISTILLER}.losses': [dict(type='lipschitz', weight=1)]},
        ("'weight'", "'loss_weight'"),
    ),
    'adapters of a wrong type': ({f'{DISTILLER}.adapters': 3}, ('adapters=3',)),
    'unknown adapters': ({f'{DISTILLER}.adapters': 'all'}, ("adapters='all'", "'auto'")),
    'probe size of a wrong type': ({f'{DISTILLER}.probe_size': 'big'}, ("probe_size='big'",)),
    'method of the spectral norms': (
        {f'{DISTILLER}.losses': [dict(type='lipschitz', method='qr')]},
        ("'qr'", "'lanczos'"),
    ),
    'iterations of a wrong type': (
        {f'{DISTILLER}.losses': [dict(type='lipschitz', num_iters='many')]},
        ("num_iters='many'",),
    ),
    'distance of a wrong type': (
        {f'{DISTILLER}.losses': [dict(type='lipschitz', distance=2)]},
        ('distance=2', "'log'"),
    ),
    'mapping of an unknown loss': (
        {f'{DISTILLER}.loss_forward_mappings': dict(loss_x=dict(a=dict(recorder='taps', from_student=True)))},
        ("'loss_x'",),
    ),
    # Teacher and student
    'two teachers': ({'model.teacher': [dict(type='x'), dict(type='y')]}, ('2 models in a list',)),
    'teacher without a config': ({'model.teacher': ...}, ('teacher',)),
    'misspelt package': (
        {'model.teacher': dict(cfg_path='mmpretrian::resnet/resnet18_8xb16_cifar10.py')},
        ("'mmpretrian'", "'mmpretrain'"),
    ),
    'unknown config of a package': (
        {'model.teacher': dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar11.py')},
        ('resnet18_8xb16_cifar11.py', 'resnet18_8xb16_cifar10.py'),
    ),
    'cfg_path as a number': ({'model.teacher': dict(cfg_path=3)}, ('3 is a int',)),
    'option beside cfg_path': (
        {'model.teacher': dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', depth=5)},
        ("'depth'", 'cfg_options'),
    ),
    'backbone that downloads its weights': (
        {'model.architecture.backbone.init_cfg': dict(type='Pretrained', checkpoint='http://127.0.0.1:9/resnet.pth')},
        ('http://127.0.0.1:9/resnet.pth', 'local file', 'init_cfg=None'),
    ),
    'weights that do not exist': (
        {'model.architecture.backbone.init_cfg': dict(type='Pretrained', checkpoint='torchvision://resnet51')},
        ('torchvision://resnet51', 'correct its name'),
    ),
    # The training
    'batch size of 0': ({'train_dataloader.batch_size': 0}, ('batch_size=0', '1 or more')),
    'batch size of a wrong type': ({'train_dataloader.batch_size': 'big'}, ("batch_size='big'", '1 or more')),
    'negative number of workers': ({'train_dataloader.num_workers': -1}, ('num_workers=-1', '0 or more')),
    'no epochs': ({'train_cfg.max_epochs': 0}, ('max_epochs=0', '1 or more')),
    'epochs of a wrong type': ({'train_cfg.max_epochs': 'ten'}, ("max_epochs='ten'", '1 or more')),
    'half an epoch': ({'train_cfg.max_epochs': 1.5}, ('max_epochs=1.5', '1 or more')),
    'validation interval of 0': ({'train_cfg.val_interval': 0}, ('val_interval=0', '1 or more')),
    'no loop': ({'train_cfg': ..., 'optim_wrapper': ..., 'train_dataloader': ...}, ('train_cfg',)),
    'metric that the evaluator does not produce': (
        {'default_hooks.checkpoint.save_best': 'accuracy/top-1', 'default_hooks.checkpoint.rule': 'greater'},
        ("'accuracy/top-1'", "'accuracy/top1'"),
    ),
    'metric that stops the training': (
        {'custom_hooks': [dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP', rule='greater')]},
        ("'coco/bbox_mAP'", "'accuracy/top1'"),
    ),
    'interval of a wrong type': (
        {'default_hooks.annotation_check': dict(type='mmrazor.AnnotationCheckHook', max_images='all')},
        ("max_images='all'",),
    ),
    'weight schedule of an unknown loss': (
        {'custom_hooks': [dict(type='mmrazor.LossWeightSchedulerHook', loss='loss_x', start_weight=1, end_weight=0)]},
        ("'loss_x'", "'loss_lipschitz'"),
    ),
    'weight schedule of a wrong type': (
        {
            'custom_hooks': [
                dict(type='mmrazor.LossWeightSchedulerHook', loss='loss_lipschitz', start_weight='a', end_weight=0)
            ]
        },
        ("start_weight='a'",),
    ),
    'monitor interval of a wrong type': (
        {'custom_hooks': [dict(type='mmrazor.LipschitzMonitorHook', interval='often')]},
        ("interval='often'",),
    ),
    'balance share of a wrong type': (
        {'custom_hooks': [dict(type='mmrazor.LipschitzBalanceHook', share='half')]},
        ("share='half'",),
    ),
    'strategy that shards a distillation': (
        {'runner_type': 'FlexibleRunner', 'strategy': dict(type='FSDPStrategy')},
        ("'FSDPStrategy'", "'DDPStrategy'"),
    ),
    'strategy of DeepSpeed': (
        {'runner_type': 'FlexibleRunner', 'strategy': dict(type='DeepSpeedStrategy')},
        ("'DeepSpeedStrategy'", "'DDPStrategy'"),
    ),
}

# Methods whose weight has a wrong type.
METHODS = ('lipschitz', 'ofd', 'kd', 'dkd', 'dist', 'pkd', 'cwd', 'at', 'mgd', 'fitnet', 'rkd')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('refused')
    write_workspace(root)
    return root


@pytest.mark.parametrize('name', CASES)
def test_wrong_config_ends_with_one_sentence(name: str, root: Path, capsys: pytest.CaptureFixture) -> None:
    changes, words = CASES[name]
    check_refusal(training(write_case(root, changes), root), words, root, capsys)


@pytest.mark.parametrize('method', METHODS)
def test_weight_of_a_wrong_type_ends_with_one_sentence(method: str, root: Path, capsys: pytest.CaptureFixture) -> None:
    option = 'angle_weight' if method == 'rkd' else 'loss_weight'
    config = write_case(root, {f'{DISTILLER}.losses': [{'type': method, option: 'high'}]})
    check_refusal(training(config, root), (f"{option}='high' is a str",), root, capsys)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'train_cfg.val_interval': 100},
        {'default_hooks.checkpoint.save_best': 'accuracy/top1'},
        {'train_cfg.max_epochs': 1.0},
        {'runner_type': 'FlexibleRunner'},
    ],
    ids=lambda changes: next(iter(changes), 'unchanged'),
)
def test_valid_config_trains(
    changes: dict[str, Any], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = training(write_case(root, changes), root)
    command[3] = str(tmp_path)
    ending = run_command(command, capsys)
    logging.shutdown()
    assert ending.status == 0, ending
    assert (tmp_path / 'epoch_1.pth').is_file()
