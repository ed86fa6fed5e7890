import math

import pytest
import torch

from lckd_mm.models import LipschitzLoss

STUDENT = torch.tensor([[1.0, 3.0], [2.0, 2.0], [8.0, 1.0]])
TEACHER = torch.tensor([[2.0, 3.0], [4.0, 1.0], [4.0, 4.0]])


@pytest.mark.parametrize(
    ('distance', 'expected'),
    [
        ('mse', [(1 + 0) / 2, (4 + 1) / 2, (16 + 9) / 2]),
        ('relative', [0.25 / 2, (0.25 + 1) / 2, (1 + 9 / 16) / 2]),
        ('log', [math.log(2) ** 2 / 2, math.log(2) ** 2, (math.log(2) ** 2 + math.log(4) ** 2) / 2]),
    ],
)
def test_weights_of_three_pairs_are_an_eighth_a_quarter_and_a_half(distance: str, expected: list) -> None:
    loss = LipschitzLoss(loss_weight=3.0, distance=distance)(STUDENT, TEACHER)
    assert loss.item() == pytest.approx(3 * (expected[0] / 8 + expected[1] / 4 + expected[2] / 2))


@pytest.mark.parametrize('distance', ['mse', 'relative', 'log'])
def test_gradient_reaches_only_the_student_and_is_finite_at_zero_norms(distance: str) -> None:
    student = torch.tensor([[0.0, 1.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
    loss = LipschitzLoss(distance=distance)(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
    assert teacher.grad is None


@pytest.mark.parametrize('distance', ['relative', 'log'])
def test_loss_is_invariant_to_a_common_scale(distance: str) -> None:
    loss = LipschitzLoss(distance=distance)
    torch.testing.assert_close(loss(100 * STUDENT, 100 * TEACHER), loss(STUDENT, TEACHER))


@pytest.mark.parametrize('distance', ['mse', 'relative', 'log'])
def test_non_finite_teacher_norm_gives_non_finite_loss(distance: str) -> None:
    assert not LipschitzLoss(distance=distance)(STUDENT, TEACHER * math.nan).isfinite()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(distance='log2'), "did you mean 'log'"),
        (dict(distance='l1'), "'mse', 'relative', 'log'"),
        (dict(decay=0), 'decay=0'),
        (dict(decay=1.5), 'decay=1.5'),
        (dict(loss_weight=-1), 'loss_weight=-1'),
    ],
)
def test_wrong_option_is_rejected(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LipschitzLoss(**settings)


def test_different_numbers_of_pairs_are_rejected() -> None:
    with pytest.raises(ValueError, match=r'\(2, 2\).*\(3, 2\)'):
        LipschitzLoss()(STUDENT[:2], TEACHER)
