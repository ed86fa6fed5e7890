"""The state of mmengine's schedulers is data."""

from pathlib import Path

import torch
from mmengine.optim import OneCycleLR
from torch import nn

from lckd_mm.checkpoint import load_data, save_data
from lckd_mm.latest_checkpoint import find_latest_checkpoint
from tests.scripts.toy_training import make_runner

SCHEDULER = dict(type='OneCycleLR', eta_max=0.1, total_steps=8, by_epoch=False)


def test_training_with_one_cycle_is_resumed(tmp_path: Path) -> None:
    loop = dict(by_epoch=False, max_iters=8)
    checkpoint = dict(checkpoint=dict(type='CheckpointHook', interval=4, by_epoch=False))
    options = dict(train_cfg=loop, param_scheduler=SCHEDULER, default_hooks=checkpoint)
    runner = make_runner(tmp_path / 'whole', **options)
    runner.train()
    whole = runner.optim_wrapper.get_lr()['lr']
    path = tmp_path / 'whole' / 'iter_4.pth'
    state = load_data(path)['param_schedulers'][0]
    assert 'anneal_func' not in state
    assert find_latest_checkpoint(tmp_path / 'whole') == str(tmp_path / 'whole' / 'iter_8.pth')
    resumed = make_runner(tmp_path / 'resumed', **options, resume=True, load_from=str(path))
    resumed.train()
    assert resumed.iter == 8
    assert resumed.optim_wrapper.get_lr()['lr'] == whole


def test_earlier_checkpoint_with_the_function_is_read(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    scheduler = OneCycleLR(optimizer, eta_max=0.1, total_steps=8)
    state = dict(scheduler.state_dict(), anneal_func=scheduler.anneal_func, last_step=3)
    torch.save(dict(param_schedulers=[state]), tmp_path / 'mmengine.pth')
    read = load_data(tmp_path / 'mmengine.pth')['param_schedulers'][0]
    assert read['anneal_func'] is None
    scheduler.load_state_dict(state_dict=read)
    assert scheduler.last_step == 3
    assert callable(scheduler.anneal_func)
    save_data(scheduler.state_dict(), tmp_path / 'saved.pth')
    assert load_data(tmp_path / 'saved.pth')['last_step'] == 3
