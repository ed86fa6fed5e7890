"""The config that the arguments of ``train`` and ``test`` result in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from lckd_mm.cli.data_check import check_data
from lckd_mm.cli.memory_format import to_channels_last
from lckd_mm.cli.runner import load_runner_config
from lckd_mm.cli.train import apply_arguments, make_parser
from lckd_mm.errors import ConfigFileNotFoundError, ConfigValueError


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / 'mine.py'
    path.write_text("model = dict(type='ToyModel', depth=1)\n")
    return str(path)


def load(*arguments: str) -> Config:
    return load_runner_config(make_parser().parse(arguments))


def test_work_directory_is_named_after_the_config(config: str) -> None:
    assert load(config).work_dir == 'work_dirs/mine'
    assert load(config, '--work-dir', 'there').work_dir == 'there'
    assert load(config, '--cfg-options', 'work_dir=here').work_dir == 'here'


def test_options_override_the_config(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('RANK', 'WORLD_SIZE'):
        monkeypatch.setenv(name, '0')
    cfg = load(config, '--cfg-options', 'model.depth=2', '--launcher', 'pytorch')
    assert cfg.model.depth == 2
    assert cfg.launcher == 'pytorch'


@pytest.mark.parametrize('option', ['model.depth', 'model.depth=[1,2'])
def test_option_in_another_form_is_reported(config: str, option: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        load(config, '--cfg-options', option)
    assert end.value.code == 2
    assert 'argument --cfg-options' in capsys.readouterr().err


def test_argument_that_is_not_expected_is_reported(config: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        load(config, 'another.py')
    assert "'another.py' is not expected" in capsys.readouterr().err


@pytest.mark.parametrize('rank', ['--local_rank=1', '--local-rank=1'])
def test_both_spellings_of_the_local_rank_are_accepted(rank: str, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Set beforehand, so that the test leaves the environment as it was.
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert load(config, rank).launcher == 'none'


def apply(cfg: dict, *arguments: str) -> Config:
    cfg = Config(cfg)
    apply_arguments(cfg, make_parser().parse(['mine.py', *arguments]))
    return cfg


def test_amp_replaces_the_optimizer_wrapper() -> None:
    assert apply(dict(optim_wrapper=dict()), '--amp').optim_wrapper == dict(
        type='AmpOptimWrapper', loss_scale='dynamic'
    )
    with pytest.raises(ConfigValueError, match=r"optim_wrapper.type='ApexOptimWrapper'; valid: 'OptimWrapper'"):
        apply(dict(optim_wrapper=dict(type='ApexOptimWrapper')), '--amp')


def test_scaling_the_learning_rate_needs_the_batch_size() -> None:
    assert apply(dict(auto_scale_lr=dict(base_batch_size=16)), '--auto-scale-lr').auto_scale_lr.enable
    with pytest.raises(ConfigValueError, match='base_batch_size'):
        apply(dict(), '--auto-scale-lr')


def test_training_that_cannot_be_resumed_yet_starts_from_the_weights_of_its_config(tmp_path: Path) -> None:
    cfg = dict(load_from='pretrained.pth', work_dir=str(tmp_path))
    assert apply(cfg, '--resume').to_dict() == cfg
    content = dict(state_dict={}, optimizer={}, message_hub={}, meta=dict(epoch=1, iter=1))
    torch.save(content, tmp_path / 'epoch_1.pth')
    assert apply(cfg, '--resume').to_dict() == dict(cfg, resume=True, load_from=None)
    assert apply(cfg, '--resume', 'epoch_1.pth').load_from == 'epoch_1.pth'


def test_training_resumes_from_the_latest_or_the_given_checkpoint() -> None:
    assert apply(dict(), '--resume').to_dict() == dict(resume=True, load_from=None)
    assert apply(dict(), '--resume', 'epoch_1.pth').load_from == 'epoch_1.pth'
    assert 'resume' not in apply(dict())


@pytest.mark.parametrize(
    ('existing', 'dataset', 'missing'),
    [
        ('set/train', dict(data_root='set', data_prefix='train'), None),
        ('set', dict(data_root='set', data_prefix='train'), 'set/train'),
        (
            'set/img',
            dict(data_root='set', ann_file='', data_prefix=dict(img_path='img', seg_map_path='ann')),
            'set/ann',
        ),
        ('set', dict(data_root='set', ann_file='lists/train.txt', data_prefix=dict(img='')), 'set/lists/train.txt'),
        ('set', dict(data_root='set'), None),
        ('other', dict(data_root='set'), 'set'),
    ],
)
def test_missing_folders_of_a_data_set_are_reported_with_the_fix(
    existing: str, dataset: dict, missing: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / existing).mkdir(parents=True)
    cfg = Config(dict(train_dataloader=dict(dataset=dict(dataset=dataset)), data_help='unpack it'))
    if missing is None:
        check_data(cfg, 'train_dataloader')
        return
    with pytest.raises(ConfigFileNotFoundError, match=f"'{missing}/?' is missing in .*; unpack it"):
        check_data(cfg, 'train_dataloader')


def test_channels_last_gives_the_same_numbers_and_excludes_what_would_crash() -> None:
    """The shortcut of a narrow ResNet, whose backward pass in this format ends the process on CPUs with AVX-512."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 1, stride=2),
        torch.nn.Conv2d(16, 16, 3),
    ]
    model = torch.nn.Sequential(*layers)
    image = torch.randn(8, 3, 42, 54)
    expected = model(image)
    expected.square().sum().backward()
    expected_gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    to_channels_last(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    for _ in range(5):
        model.zero_grad()
        output = model(image.to(memory_format=torch.channels_last))
        output.square().sum().backward()
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    for p, gradient in zip(model.parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ('options', 'is_accepted'), [({}, True), (dict(download=True), True), (dict(download=False), False)]
)
def test_a_data_set_that_downloads_its_files_needs_no_folder(options: dict, is_accepted: bool, tmp_path: Path) -> None:
    dataset = dict(type='CIFAR10', data_root=str(tmp_path / 'nowhere'), **options)
    cfg = Config(
        dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dataset)))
    )
    if is_accepted:
        check_data(cfg, 'train_dataloader')
    else:
        with pytest.raises(FileNotFoundError, match='nowhere'):
            check_data(cfg, 'train_dataloader')


@pytest.mark.parametrize('key', ['backend_args', 'file_client_args'])
def test_data_of_another_storage_are_not_looked_for_on_the_disk(key: str) -> None:
    def check(**backend: Any) -> None:
        dataset = {'data_root': 'data/coco', 'ann_file': 'train.json', key: backend}
        check_data(Config(dict(train_dataloader=dict(dataset=dataset))), 'train_dataloader')

    check(backend='petrel', path_mapping={'data/': 's3://bucket/'})
    check(backend='petrel')
    with pytest.raises(ConfigFileNotFoundError, match=r'data/coco/train\.json'):
        check(backend='local')
    with pytest.raises(ConfigFileNotFoundError, match=r'data/coco/train\.json'):
        check()
