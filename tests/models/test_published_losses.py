"""The losses of the presets against the formulas of their papers, in float64."""

import pytest
import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor

import lckd_mm  # noqa: F401  (registers the components)
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.presets import PRESETS


def _loss(name: str, **options: float) -> torch.nn.Module:
    return MODELS.build({'_scope_': 'mmrazor', **PRESETS[name].expand(**options).losses['']})


@pytest.fixture
def scores() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(7, 10, dtype=torch.float64), 3 * torch.randn(7, 10, dtype=torch.float64), torch.arange(7) % 10


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 5, 4, 6, dtype=torch.float64), torch.randn(3, 5, 4, 6, dtype=torch.float64) + 1


def test_kd(scores: tuple) -> None:
    student, teacher, _ = scores
    target = (teacher / 4).softmax(1)
    divergence = (target * (target.log() - (student / 4).softmax(1).log())).sum(1).mean()
    torch.testing.assert_close(_loss('kd', tau=4.0, loss_weight=0.9)(student, teacher), 0.9 * 16 * divergence)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    return sum(t * torch.log(t / s) for s, t in zip(student, teacher))


@pytest.mark.parametrize(
    ('tau', 'alpha', 'beta', 'weight'), [(1.0, 1.0, 0.5, 1.0), (4.0, 1.0, 8.0, 2.0), (2.0, 0.0, 1.0, 1.0)]
)
def test_dkd(scores: tuple, tau: float, alpha: float, beta: float, weight: float) -> None:
    student, teacher, labels = scores
    expected = []
    for s, t, label in zip((student / tau).softmax(1), (teacher / tau).softmax(1), labels.tolist()):
        others = [index for index in range(10) if index != label]
        target = _divergence(torch.stack([s[label], 1 - s[label]]), torch.stack([t[label], 1 - t[label]]))
        rest = _divergence(s[others] / s[others].sum(), t[others] / t[others].sum())
        expected.append(alpha * target + beta * rest)
    loss = _loss('dkd', tau=tau, alpha=alpha, beta=beta, loss_weight=weight)(student, teacher, labels)
    torch.testing.assert_close(loss, weight * tau**2 * torch.stack(expected).mean())


def test_dkd_does_not_depend_on_the_batch_size(scores: tuple) -> None:
    loss = _loss('dkd')
    once = loss(*scores)
    torch.testing.assert_close(loss(*(torch.cat([part] * 4) for part in scores)), once)


def test_dkd_of_other_classes_is_refused(scores: tuple) -> None:
    with pytest.raises(ConfigValueError, match=r'\(7, 10\) and the teacher \(7, 9\): give both models'):
        _loss('dkd')(scores[0], scores[1][:, :9], scores[2])


def test_dkd_is_finite_for_certain_networks() -> None:
    student = torch.tensor([[200.0, 0.0, -200.0], [0.0, 200.0, 0.0]], requires_grad=True)
    loss = _loss('dkd')(student, torch.tensor([[-200.0, 200.0, 0.0], [200.0, 0.0, 0.0]]), torch.tensor([0, 1]))
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.norm() > 0


@pytest.mark.parametrize(('option', 'value'), [('tau', 0.0), ('alpha', -1.0), ('beta', -1.0), ('loss_weight', -1.0)])
def test_dkd_refuses_impossible_options(option: str, value: float) -> None:
    with pytest.raises(ConfigValueError, match=f'{option}={value}'):
        _loss('dkd', **{option: value})


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(a, b)]).mean()


def test_dist(scores: tuple) -> None:
    student, teacher = (part.softmax(1) for part in scores[:2])
    expected = (1 - _correlation(student, teacher)) + (1 - _correlation(student.T, teacher.T))
    torch.testing.assert_close(_loss('dist', loss_weight=2.0)(*scores[:2]), 2 * expected, rtol=1e-5, atol=1e-6)


def test_pkd_is_one_minus_the_correlation_of_each_channel(maps: tuple) -> None:
    channels = [part.transpose(0, 1).flatten(1) for part in maps]
    expected = 6 * (1 - _correlation(*channels))
    # The standard deviation of the authors' code has a divisor of one less.
    torch.testing.assert_close(_loss('pkd')([maps[0]], [maps[1]]), expected, rtol=0.02, atol=0.0)


def test_at(maps: tuple) -> None:
    attention = [F.normalize(part.pow(2).mean(1).flatten(1)) for part in maps]
    expected = 1000 * (attention[0] - attention[1]).pow(2).mean()
    torch.testing.assert_close(_loss('at', loss_weight=1000.0)([maps[0]], [maps[1]]), expected)


def _as_tokens(feature: Tensor) -> Tensor:
    return feature.flatten(2).mT


@pytest.mark.parametrize('name', ['at', 'cwd', 'fitnet', 'pkd'])
@pytest.mark.parametrize('teacher_only', [True, False])
def test_tokens_have_the_loss_of_the_same_maps(maps: tuple, name: str, teacher_only: bool) -> None:
    loss, (student, teacher) = _loss(name), maps
    tokens = loss([student if teacher_only else _as_tokens(student)], [_as_tokens(teacher)])
    torch.testing.assert_close(tokens, loss([student], [teacher]))


@pytest.mark.parametrize('name', ['at', 'cwd', 'fitnet', 'pkd'])
def test_tokens_of_another_number_are_refused(maps: tuple, name: str) -> None:
    with_class_token = F.pad(_as_tokens(maps[1]), (0, 0, 1, 0))
    with pytest.raises(ConfigValueError, match=r'compares 24 positions of the student with 25 of the teacher'):
        _loss(name)([maps[0]], [with_class_token])


def test_pkd_interpolates_a_map_of_another_width(maps: tuple) -> None:
    narrow = maps[0][..., :3]
    resized = F.interpolate(narrow, size=(4, 6), mode='bilinear', align_corners=False)
    torch.testing.assert_close(_loss('pkd')([narrow], [maps[1]]), _loss('pkd')([resized], [maps[1]]))
