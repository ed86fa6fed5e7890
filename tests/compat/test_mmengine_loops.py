"""The predictions of models in mmengine's evaluation loops."""

import lckd_mm  # noqa: F401  (applies the patches, before anything is imported that needs them)

# isort: split
import pytest
import torch
from mmengine.runner import loops
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
