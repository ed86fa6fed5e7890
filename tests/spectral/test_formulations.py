"""Every formulation has the exact value and gradient, in every memory layout and precision."""

import itertools

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import transmitting_spectral_norm, transmitting_spectral_norms
from lckd_mm.spectral.operator import BlockedMatrix
from lckd_mm.spectral.pairing import flatten_positions
from lckd_mm.spectral.planning import Plan, describe, make_plan
from tests.helpers.planned_norms import planned_norms
from tests.helpers.published_spectral_norm import published_transmitting_matrix

# Four taps, the last of which has the size of the third. A batch of 5 leaves a smaller last chunk for chunks of 2.
TAPS = ((5, 4, 12, 12), (5, 6, 6, 6), (5, 8, 3, 3), (5, 10, 3, 3))


def _maps(dtype: torch.dtype = torch.float64, shapes: tuple = TAPS) -> list:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def _exact(maps: list) -> Tensor:
    """Return (K - 1, B) norms from the SVD of float64 matrices; autograd goes through the SVD."""
    return torch.stack(
        [
            torch.linalg.svdvals(published_transmitting_matrix(x.double(), y.double()))[:, 0]
            for x, y in itertools.pairwise(maps)
        ]
    )


def _gradients(sigma: Tensor, maps: list) -> tuple:
    weights = torch.linspace(0.5, 2, sigma.numel(), dtype=sigma.dtype).view_as(sigma)
    return torch.autograd.grad((sigma * weights).sum(), maps)


PLANS = [
    Plan(images, materialized) for images in (1, 2, 5) for materialized in itertools.product((False, True), repeat=3)
]
JOINT_PLANS = [Plan(5, materialized, joint=True) for materialized in itertools.product((False, True), repeat=3)]


@pytest.mark.parametrize('plan', PLANS + JOINT_PLANS, ids=str)
def test_every_plan_has_the_exact_norms_and_gradients(plan: Plan) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    expected = _exact(maps)
    sigma = planned_norms(maps, num_iters=9, plan=plan)
    torch.testing.assert_close(sigma, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(_gradients(sigma, maps), _gradients(expected, maps), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('plan', PLANS[::3], ids=str)
def test_the_power_iteration_is_independent_of_the_plan(plan: Plan) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    sigmas = [planned_norms(maps, method='power', plan=p) for p in (plan, PLANS[-1])]
    torch.testing.assert_close(sigmas[0], sigmas[1])
    torch.testing.assert_close(*(_gradients(sigma, maps) for sigma in sigmas))


@pytest.mark.parametrize('method', ['lanczos', 'power', 'svd'])
def test_a_chain_of_maps_equals_its_separate_pairs(method: str) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    together = transmitting_spectral_norms(maps, method=method)
    one_by_one = torch.stack([transmitting_spectral_norm(x, y, method=method) for x, y in itertools.pairwise(maps)])
    torch.testing.assert_close(together, one_by_one)
    torch.testing.assert_close(_gradients(together, maps), _gradients(one_by_one, maps))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('shapes', [TAPS, TAPS[:2]])
def test_half_precision_maps_have_the_gradient_of_their_float32_copies_in_their_own_dtype(
    dtype: torch.dtype, shapes: tuple
) -> None:
    maps = [feature.requires_grad_() for feature in _maps(dtype, shapes)]
    copies = [feature.detach().float().requires_grad_() for feature in maps]
    sigma, expected = transmitting_spectral_norms(maps), transmitting_spectral_norms(copies)
    torch.testing.assert_close(sigma, expected)
    for ours, theirs in zip(_gradients(sigma, maps), _gradients(expected, copies)):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs.to(dtype))


LAYOUTS = {
    'channels last': lambda x: x.to(memory_format=torch.channels_last),
    'cropped': lambda x: torch.nn.functional.pad(x, (1, 2, 3, 0))[..., 3:, 1:-2],
    'transposed': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    'every other image': lambda x: x.repeat_interleave(2, 0)[::2],
}


@pytest.mark.parametrize('materialized', [False, True])
@pytest.mark.parametrize('images', [1, 5])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_memory_layout_changes_neither_value_nor_gradient(layout: str, images: int, materialized: bool) -> None:
    plan = Plan(images, (materialized,) * 3)
    maps = [feature.requires_grad_() for feature in _maps()]
    laid_out = [LAYOUTS[layout](feature.detach()).requires_grad_() for feature in maps]
    expected, sigma = (planned_norms(taps, plan=plan) for taps in (maps, laid_out))
    torch.testing.assert_close(sigma, expected)
    torch.testing.assert_close(_gradients(sigma, laid_out), _gradients(expected, maps))


def test_channels_last_maps_are_not_copied_and_their_gradients_are_channels_last() -> None:
    x, y = (feature.to(memory_format=torch.channels_last).requires_grad_() for feature in _maps(shapes=TAPS[2:]))
    assert flatten_positions(x, (3, 3)).data_ptr() == x.data_ptr()
    for gradient in _gradients(transmitting_spectral_norms((x, y)), (x, y)):
        assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_a_small_batch_is_split_into_blocks_without_a_copy() -> None:
    matrix = torch.randn(1, 8, 15, dtype=torch.float64)
    for strided in (matrix, matrix.mT.contiguous().mT):
        blocks = BlockedMatrix(strided)
        assert len(blocks._blocks) > 1
        assert blocks._blocks.data_ptr() == strided.data_ptr()
        row, column = torch.randn(1, 1, 8, dtype=torch.float64), torch.randn(1, 1, 15, dtype=torch.float64)
        torch.testing.assert_close(blocks.rmatvec(row), row @ matrix)
        torch.testing.assert_close(blocks.matvec(column), column @ matrix.mT)


@pytest.mark.parametrize(('method', 'rank'), [('lanczos', 1), ('svd', 1), ('power', 10)])
def test_only_vectors_are_saved_for_the_backward_pass(method: str, rank: int) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        transmitting_spectral_norms(maps, method=method)
    pairs = [(x.shape[1], y.shape[1], y.shape[2] * y.shape[3]) for x, y in itertools.pairwise(maps)]
    assert sum(saved) == sum(5 * rank * (c1 + c2 + 2 * n) for c1, c2, n in pairs)


def test_the_maps_can_be_overwritten_between_forward_and_backward() -> None:
    x, y = (feature.requires_grad_() for feature in _maps(shapes=TAPS[:2]))
    expected = _gradients(transmitting_spectral_norms((x, y)), (x, y))
    x_used, y_used = x * 1, y * 1
    sigma = transmitting_spectral_norms((x_used, y_used))
    x_used.relu_()
    y_used.zero_()
    (x_grad,) = torch.autograd.grad((sigma * torch.linspace(0.5, 2, 5, dtype=sigma.dtype)).sum(), x, retain_graph=True)
    # sigma was computed before the ReLU, so that the ReLU does not change the gradient.
    torch.testing.assert_close(x_grad, expected[0])


@pytest.mark.parametrize('materialized', [False, True])
@pytest.mark.parametrize('interface', ['global', 'per backend'])
def test_reduced_precision_that_a_user_allows_does_not_change_the_norms(interface: str, materialized: bool) -> None:
    maps = _maps(torch.float32)
    expected = planned_norms(maps, plan=Plan(5, (materialized,) * 3))
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        if interface == 'global':
            torch.set_float32_matmul_precision('medium')
        else:
            torch.backends.cuda.matmul.fp32_precision = 'tf32'
            torch.backends.mkldnn.matmul.fp32_precision = 'bf16'
        assert torch.equal(planned_norms(maps, plan=Plan(5, (materialized,) * 3)), expected)
        assert [backend.fp32_precision for backend in backends] == ['tf32', 'bf16']
    finally:
        # The backends alone would not reset the global setting, with which their older flags raise errors.
        torch.set_float32_matmul_precision('highest')
        for backend, precision in zip(backends, before):
            backend.fp32_precision = precision


@pytest.mark.parametrize('global_precision', ['highest', 'medium'])
def test_the_global_precision_is_restored_where_backends_have_none_of_their_own(
    monkeypatch: pytest.MonkeyPatch, global_precision: str
) -> None:
    maps = _maps(torch.float32)
    expected = transmitting_spectral_norms(maps)
    calls: list[str] = []
    # The interface before torch 2.9.
    monkeypatch.setattr(torch.backends.cuda, 'matmul', object())
    monkeypatch.setattr(torch.backends.mkldnn, 'matmul', object(), raising=False)
    monkeypatch.setattr(torch, 'get_float32_matmul_precision', lambda: global_precision)
    monkeypatch.setattr(torch, 'set_float32_matmul_precision', calls.append)
    assert torch.equal(transmitting_spectral_norms(maps), expected)
    assert calls == ['highest', global_precision]


def test_an_empty_batch_has_no_norms() -> None:
    maps = [feature[:0].requires_grad_() for feature in _maps()]
    assert transmitting_spectral_norms(maps).shape == (3, 0)


def test_a_single_map_raises_an_error() -> None:
    with pytest.raises(ValueError, match='1 feature map was given'):
        transmitting_spectral_norms(_maps()[:1])


def _plan(*pairs: tuple, batch: int = 8, method: str = 'lanczos', num_iters: int = 5, device: str = 'cpu') -> Plan:
    return make_plan(pairs, batch, method, num_iters, 4, device)


def test_the_plan_depends_on_the_shapes() -> None:
    assert _plan((1024, 2048, 49)) == Plan(8, (False,)), 'small maps: all images in one chunk'
    assert _plan((256, 512, 33600)).images_per_chunk == 1, 'maps larger than the cache: one image per chunk'
    assert _plan((16, 32, 1024), batch=128).materialized == (True,), 'few channels: the matrix is small'
    assert _plan((64, 128, 49), (1024, 2048, 49), num_iters=50).materialized == (True, False), (
        'the pairs are independent'
    )
    assert _plan((256, 512, 784), batch=64, device='cuda').images_per_chunk == 64, 'a GPU processes the whole batch'
    assert [_plan((256, 512, 784), device=device).joint for device in ('cpu', 'cuda')] == [False, True]
    assert not _plan((256, 512, 784), method='power', device='cuda').joint
    assert _plan((256, 512, 784), method='svd') == Plan(1, (False,))
    assert describe(Plan(2, (True, False))) == '2 images, factored and materialized'


class _Model(torch.nn.Module):
    """A student of two convolutions, with the connector."""

    def __init__(self) -> None:
        from lckd_mm.models.connectors import SpectralNormConnector

        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 6, 3, 2, 1), torch.nn.Conv2d(6, 8, 3, 2, 1)
        self.connector = SpectralNormConnector()

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        y = self.second(x.relu())
        return self.connector.forward_train((x, y)).log().sum() + y.mean()


def test_a_compiled_model_with_the_connector_gives_the_same_loss_and_gradients() -> None:
    torch.manual_seed(0)
    model, image = _Model(), torch.randn(2, 3, 16, 16)
    results = []
    for forward in (model, torch.compile(model, backend='aot_eager')):
        loss = forward(image)
        results.append((loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))))
    torch.testing.assert_close(results[1], results[0])


def test_functional_call_replaces_the_parameters() -> None:
    model, image = _Model(), torch.randn(2, 3, 16, 16)
    parameters = {name: parameter.detach() * 2 for name, parameter in model.named_parameters()}
    called = torch.func.functional_call(model, parameters, image)
    model.load_state_dict(parameters)
    torch.testing.assert_close(called, model(image).detach())
