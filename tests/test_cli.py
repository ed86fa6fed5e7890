import sys

import pytest
import torch
from mmengine.config import Config

import lckd_mm.__main__ as command
from lckd_mm.cli import check_data, load_config, make_parser, to_channels_last


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("model = dict(type='ToyModel', depth=1)\n")
    return str(path)


def load(*arguments):
    parser = make_parser('')
    return load_config(parser, parser.parse_args(arguments))


def test_the_work_directory_is_named_after_the_config(config):
    assert load(config).work_dir == 'work_dirs/mine'
    assert load(config, '--work-dir', 'there').work_dir == 'there'
    assert load(config, '--cfg-options', 'work_dir=here').work_dir == 'here'


def test_options_override_the_config(config):
    cfg = load(config, '--cfg-options', 'model.depth=2', '--launcher', 'pytorch')
    assert cfg.model.depth == 2
    assert cfg.launcher == 'pytorch'


@pytest.mark.parametrize('name', ['none.py', 'lckd_mm::demo/none.py'])
def test_a_config_that_is_not_there_is_named(name, capsys):
    with pytest.raises(SystemExit):
        load(name)
    assert f"config '{name}' does not lead to a file" in capsys.readouterr().err


@pytest.mark.parametrize('rank', ['--local_rank=1', '--local-rank=1'])
def test_both_spellings_of_the_local_rank_are_taken(rank, config, monkeypatch):
    # Set beforehand, so that the test leaves the environment as it was.
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert load(config, rank).launcher == 'none'


def test_an_unknown_tool_is_answered_with_the_nearest():
    with pytest.raises(SystemExit, match="'tain' is none: did you mean 'train'"):
        command.main(['tain'])


def test_a_tool_gets_its_arguments(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [])
    with pytest.raises(SystemExit) as end:
        command.main(['train', '--help'])
    assert end.value.code == 0
    assert '--auto-scale-lr' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('there', 'dataset', 'missing'),
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
        ('other', dict(data_root='set'), 'set/'),
    ],
)
def test_missing_folders_of_a_data_set_are_named_with_the_mend(there, dataset, missing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / there).mkdir(parents=True)
    cfg = Config(dict(train_dataloader=dict(dataset=dict(dataset=dataset)), data_help='unpack it'))
    if missing is None:
        check_data(cfg, 'train_dataloader')
        return
    with pytest.raises(SystemExit, match=f"looked for '{missing}' in .*; unpack it"):
        check_data(cfg, 'train_dataloader')


def test_channels_last_gives_the_same_numbers_and_spares_what_would_crash():
    """A narrow ResNet's shortcut, whose backward pass in that layout ends the process on CPUs with AVX-512."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 1, stride=2),
        torch.nn.Conv2d(16, 16, 3),
    ]
    model = torch.nn.Sequential(*layers)
    image = torch.randn(8, 3, 42, 54)
    plain = model(image)
    plain.square().sum().backward()
    wanted = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    to_channels_last(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    for _ in range(5):
        model.zero_grad()
        found = model(image.to(memory_format=torch.channels_last))
        found.square().sum().backward()
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    for p, grad in zip(model.parameters(), wanted):
        torch.testing.assert_close(p.grad, grad, rtol=1e-3, atol=1e-2)
