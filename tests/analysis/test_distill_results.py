"""What the report of `distill` states; tests/integration/test_distill.py has whole runs."""

from pathlib import Path

import pytest

from lckd_mm.analysis.distill_results import _value_at

COURSE = {1: 0.5, 2: 0.75, 400: 0.7}


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('best_accuracy_top1_epoch_2', 0.75),
        ('best_coco_bbox_mAP_iter_400', 0.7),
        ('best_accuracy_top1_epoch_9', None),
        ('epoch_2', None),
    ],
)
def test_metric_of_the_exported_checkpoint_is_that_of_its_step(name: str, value: float | None) -> None:
    assert _value_at(Path(f'{name}.pth'), COURSE) == value
