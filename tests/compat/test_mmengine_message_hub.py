from pathlib import Path

import torch
from mmengine.logging import MessageHub

from lckd_mm.compat import PATCHES

from ..helpers.checkpoints import assert_same_history
from ..scripts.toy_training import make_runner


def test_a_run_saves_plain_data_and_resumes_its_histories_exactly(tmp_path: Path) -> None:
    runner = make_runner(tmp_path / 'run')
    runner.train()
    path = tmp_path / 'run' / 'epoch_2.pth'
    torch.load(path, weights_only=True)
    saved = runner.message_hub.log_scalars
    resumed = make_runner(tmp_path / 'resumed', resume=True, load_from=str(path))
    resumed.load_or_resume()
    assert resumed.epoch == 2
    histories = resumed.message_hub.log_scalars
    assert {'train/loss', 'train/lr'} <= set(histories)
    for name, history in histories.items():
        assert_same_history(history, saved[name])

    # Without the patch, mmengine drops the histories.
    plain = MessageHub('plain')
    (load_state_dict,) = PATCHES['mmengine_histories'].originals
    load_state_dict(plain, torch.load(path, weights_only=True)['message_hub'])
    assert not plain.log_scalars
