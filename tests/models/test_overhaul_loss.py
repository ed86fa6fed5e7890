"""OFD's partial distance, compared with MMRazor's and with its definition."""

import pytest
import torch
from mmrazor.models.losses import OFDLoss

from lckd_mm.models import OverhaulLoss


def _maps(*shape: int, dtype: torch.dtype = torch.float32) -> tuple:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(dtype))


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_loss_of_one_tap_equals_mmrazors_and_keeps_the_memory_layout(dtype: torch.dtype, layout: object) -> None:
    student, teacher = (one.to(memory_format=layout) for one in _maps(3, 4, 6, 5, dtype=dtype))
    ours, theirs = (student.clone().requires_grad_() for _ in range(2))
    loss, expected = OverhaulLoss(mul_factor=7.0)((ours,), (teacher,)), OFDLoss(mul_factor=7.0)(theirs, teacher)
    precision = dict(rtol=1e-2, atol=1e-3) if dtype == torch.bfloat16 else dict(rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(loss.to(dtype), expected.to(dtype), **precision)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, **precision)
    assert ours.grad.dtype == dtype
    assert ours.grad.is_contiguous(memory_format=layout)


def test_gradient_passes_gradcheck() -> None:
    student, teacher = _maps(2, 3, 4, 4, dtype=torch.float64)
    loss = OverhaulLoss(loss_weight=3.0, mul_factor=5.0)
    assert torch.autograd.gradcheck(lambda s: loss((s, s), (teacher, -teacher)), student.requires_grad_())


def test_elements_below_a_negative_target_do_not_count() -> None:
    student = torch.tensor([-2.0, 0.5, -2.0, 3.0]).view(1, 4, 1, 1)
    teacher = torch.tensor([-1.0, -1.0, 1.0, 1.0]).view(1, 4, 1, 1)
    assert OverhaulLoss(mul_factor=1)((student,), (teacher,)).item() == pytest.approx(1.5**2 + 3**2 + 2**2)


def test_sum_over_millions_of_positions_is_exact() -> None:
    student, teacher = torch.ones(64, 256, 16, 16), torch.zeros(64, 256, 16, 16)
    student[0, 0] = 1.001
    expected = (student.double() ** 2).sum() / 64
    torch.testing.assert_close(OverhaulLoss(mul_factor=1)((student,), (teacher,)).double(), expected, rtol=1e-6, atol=0)


def test_non_finite_student_gives_non_finite_loss() -> None:
    student, teacher = _maps(1, 2, 3, 3)
    student[0, 0, 0, 0] = torch.nan
    assert OverhaulLoss()((student,), (teacher,)).isnan()


def test_each_tap_has_its_own_divisor() -> None:
    student, teacher = [torch.ones(2, 1, 1, 1)] * 3, [torch.full((2, 1, 1, 1), 3.0)] * 3
    # A squared difference of 4 in each of two images, divided by the batch size: 4 per tap.
    assert OverhaulLoss(mul_factor=1)(student, teacher).item() == pytest.approx(4 * (1 / 4 + 1 / 2 + 1))
    weighted = OverhaulLoss(mul_factor=2, divisors=(8, 4, 16))(student, teacher)
    assert weighted.item() == pytest.approx(2 * (1 / 8 + 1 / 4 + 1 / 16))
    with pytest.raises(ValueError, match=r'2 divisors \(8, 4\) for 3 maps'):
        OverhaulLoss(divisors=(8, 4))(student, teacher)


def test_padding_of_a_batch_does_not_count_and_gets_no_gradient() -> None:
    maps = _maps(2, 3, 8, 8, dtype=torch.float64)
    student, teacher = (one.clone().requires_grad_() for one in maps)
    sizes = ((8, 8), (4, 6))
    ratios = torch.tensor([[1.0, 1.0], [0.5, 0.75]])
    loss = OverhaulLoss(mul_factor=3.0)((student, student), (teacher, teacher), ratios)
    crops = [tuple(one[i : i + 1, :, :h, :w] for one in (student, teacher)) for i, (h, w) in enumerate(sizes)]
    expected = sum(OverhaulLoss(mul_factor=3.0)((s, s), (t, t)) for s, t in crops) / 2
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, student)[0])
    assert not gradient[1, :, 4:].any()
    assert not gradient[1, :, :, 6:].any()


def test_a_position_at_the_border_counts_by_its_share_inside_the_image() -> None:
    student, teacher = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0)
    loss = OverhaulLoss(mul_factor=1)((student,), (teacher,), torch.tensor([[0.75, 1.0]]))
    assert loss.item() == pytest.approx(4 * (1 + 1 + 0.5 + 0.5))


def test_gradient_with_padding_passes_gradcheck() -> None:
    student, teacher = _maps(2, 3, 4, 4, dtype=torch.float64)
    ratios = torch.tensor([[1.0, 0.6], [0.4, 1.0]])
    assert torch.autograd.gradcheck(lambda s: OverhaulLoss()((s,), (teacher,), ratios), student.requires_grad_())


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_memory_layout_and_type_are_kept_with_padding(dtype: torch.dtype, layout: torch.memory_format) -> None:
    student, teacher = (one.to(memory_format=layout) for one in _maps(3, 4, 6, 5, dtype=dtype))
    gradients = []
    for ratios in (torch.ones(3, 2), None):
        leaf = student.clone().requires_grad_()
        OverhaulLoss()((leaf,), (teacher,), ratios).backward()
        gradients.append(leaf.grad)
    assert gradients[0].is_contiguous(memory_format=layout)
    assert torch.equal(*gradients)
