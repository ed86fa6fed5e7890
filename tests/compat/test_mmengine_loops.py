"""The hooks of mmengine's training loops, and the predictions of models in its evaluation loops."""

from types import SimpleNamespace
from typing import Any

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, loops
from mmengine.structures import BaseDataElement

from lckd_mm.compat import PATCHES


@pytest.mark.parametrize('outputs', [dict(a=1), [], (), None])
def test_predictions_that_are_no_list_are_returned(outputs: object) -> None:
    assert loops._update_losses(outputs, {}) == (outputs, {})
    with pytest.raises((KeyError, IndexError, TypeError)):
        PATCHES['mmengine_prediction_losses'].originals[0](outputs, {})


def test_losses_at_the_end_of_a_list_are_still_found() -> None:
    losses = BaseDataElement(loss=dict(loss_a=torch.tensor(2.0)))
    outputs, histories = loops._update_losses(['prediction', losses], {})
    assert outputs == ['prediction']
    assert histories['loss_a'].current() == 2


def _recorded(loop_type: type, events: list[Any], **attributes: Any) -> Any:
    """Return a loop over three batches that records its hooks and iterations."""

    def call_hook(name: str, **arguments: Any) -> None:
        if name == 'before_load_batch':
            events.append(arguments['iteration'])

    hooks = [SimpleNamespace(before_load_batch=None)]
    model = SimpleNamespace(train=lambda: None)
    loop = loop_type.__new__(loop_type)
    vars(loop).update(
        _runner=SimpleNamespace(call_hook=call_hook, model=model, hooks=hooks, val_loop=None),
        run_iter=lambda *arguments: events.append(arguments),
        dataloader=['a', 'b', 'c'],
        **attributes,
    )
    return loop


def test_a_hook_is_called_before_each_batch_of_an_epoch() -> None:
    events: list[Any] = []
    loop = _recorded(EpochBasedTrainLoop, events, _epoch=2, _iter=6)
    loop.run_epoch()
    assert events == [6, (0, 'a'), 7, (1, 'b'), 8, (2, 'c'), 9]
    assert loop.epoch == 3


def test_an_epoch_continues_with_the_next_batch_only_once() -> None:
    events: list[Any] = []
    loop = _recorded(EpochBasedTrainLoop, events, _epoch=2, _iter=8, num_trained_batches=2)
    loop.run_epoch()
    assert events == [6, 7, 8, (2, 'c'), 9]
    events.clear()
    loop.run_epoch()
    assert [event for event in events if isinstance(event, tuple)] == [(0, 'a'), (1, 'b'), (2, 'c')]


def test_a_hook_is_called_before_each_batch_of_a_loop_that_counts_iterations() -> None:
    events: list[Any] = []
    attributes = dict(_iter=2, _max_iters=2, stop_training=False, fast_forward_on_resume=False)
    loop = _recorded(IterBasedTrainLoop, events, dataloader_iterator=iter(['a', 'b', 'c']), **attributes)
    loop.run()
    # The batches of the two trained iterations are loaded again.
    assert events == [0, 1]
    assert next(loop.dataloader_iterator) == 'c'
    assert events == [0, 1, 2]
