"""A training that was changed is not resumed, and the sentence says what differs."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from lckd_mm.checkpoint import load_data
from lckd_mm.engine.resume_checks import _changed_settings
from lckd_mm.errors import ConfigValueError
from tests.helpers.small_classifiers import TAPS, classifier, distillation_config
from tests.helpers.toy_runners import toy_runner

HOOKS = dict(checkpoint_match=dict(type='mmrazor.CheckpointMatchHook'))
OPTIMIZER = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))


def _runner(
    folder: Path,
    distiller: dict[str, Any],
    optim_wrapper: dict[str, Any] = OPTIMIZER,
    resume: bool = False,
    **model: Any,
) -> Runner:
    """Return a Runner with the config of its model and optimizer, as the verb ``train`` builds it."""
    config = dict(model={**distillation_config(**distiller), **model}, optim_wrapper=optim_wrapper)
    options = dict(train_cfg=dict(by_epoch=True, max_epochs=1), default_hooks=HOOKS, resume=resume)
    validation = dict(val_dataloader=None, val_cfg=None, val_evaluator=None)
    runner = toy_runner(copy.deepcopy(config['model']), folder, optim_wrapper=optim_wrapper, **options, **validation)
    runner.cfg = Config(config)
    return runner


ADAPTED = dict(adapters=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a training of one epoch, with adapters on all taps."""
    folder = tmp_path_factory.mktemp('resumed') / 'work'
    _runner(folder, distiller=ADAPTED).train()
    return folder


CHANGES = {
    'fewer taps': (
        dict(distiller={**ADAPTED, 'taps': TAPS[:3]}),
        r'distiller\.adapters\.tap3 is only in the file.*model\.distiller\.taps was ',
    ),
    'no adapters': (
        dict(distiller=dict(adapters=False)),
        r'only in the file.*model\.distiller\.adapters was True and is False',
    ),
    'other channels': (
        dict(distiller=ADAPTED, teacher=classifier(base_channels=8)),
        r'is \(4, 4, 1, 1\) in the file and \(8, 4, 1, 1\) in the model.*model\.teacher was ',
    ),
    'another loss': (
        dict(distiller={**ADAPTED, 'losses': ['lipschitz', 'mgd']}),
        r'is only in the model.*model\.distiller\.losses was \[.lipschitz.\] and is ',
    ),
    'classes': (
        dict(distiller=ADAPTED, architecture=classifier(num_classes=5)),
        r'head\.fc\.weight is \(3, 32\) in the file and \(5, 32\) in the model',
    ),
    'optimizer': (
        dict(distiller=ADAPTED, optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01))),
        r"optim_wrapper\.optimizer\.type was 'SGD' and is 'AdamW'",
    ),
    'groups': (
        dict(
            distiller=ADAPTED,
            optim_wrapper=dict(**OPTIMIZER, paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=2.0)})),
        ),
        r'the optimizer has \d+ parameters in 1 group in the file, and \d+ parameters in \d+ groups in this training',
    ),
}


@pytest.mark.parametrize('name', CHANGES)
def test_a_changed_training_is_not_resumed_and_the_sentence_says_what_differs(name: str, folder: Path) -> None:
    changes, message = CHANGES[name]
    runner = _runner(folder, resume=True, **changes)
    with pytest.raises(ConfigValueError, match=rf"epoch_1\.pth' cannot resume this training, .*{message}") as refusal:
        runner.train()
    assert 'load_from=' in str(refusal.value)
    assert '\n' not in str(refusal.value)
    # Nothing was loaded.
    saved = load_data(folder / 'epoch_1.pth')['state_dict']['architecture.backbone.conv1.weight']
    assert not torch.equal(runner.model.architecture.backbone.conv1.weight, saved)


def test_an_unchanged_training_is_resumed(folder: Path) -> None:
    class Stop(Hook):
        def before_train(self, runner: Runner) -> None:
            assert runner.epoch == 1

    runner = _runner(folder, resume=True, distiller=ADAPTED)
    runner.register_hook(Stop())
    runner.train()


def test_configs_are_compared_without_being_executed() -> None:
    text = "model = dict(distiller=dict(taps=['a'], losses={'kd': dict(tau=1)}))\nother = __import__('os').system('false')\n"
    assert list(_changed_settings(text, text)) == []
    changed = text.replace("'a'", "'b'")
    assert list(_changed_settings(text, changed)) == ["model.distiller.taps was ['a'] and is ['b']"]
    assert list(_changed_settings(None, text)) == list(_changed_settings('= broken', text)) == []
