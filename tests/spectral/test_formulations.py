"""Every formulation gives the number and the gradient of the exact one, in every memory layout and precision."""

import itertools

import pytest
import torch
from torch import Tensor

from lckd_mm.spectral import transmitting_spectral_norm, transmitting_spectral_norms
from lckd_mm.spectral.cost_model import Plan, describe, make_plan
from lckd_mm.spectral.pairing import positions

from .published import published_transmitting_matrix

# Four taps as of a backbone, a fifth that is no smaller; batch of 5, so that chunks of 2 leave a rest.
TAPS = ((5, 4, 12, 12), (5, 6, 6, 6), (5, 8, 3, 3), (5, 10, 3, 3))


def _maps(dtype: torch.dtype = torch.float64, shapes: tuple = TAPS) -> list:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def _exact(maps: list) -> Tensor:
    """(K - 1, B) by autograd through the SVD of matrices formed in float64."""
    return torch.stack(
        [
            torch.linalg.svdvals(published_transmitting_matrix(x.double(), y.double()))[:, 0]
            for x, y in zip(maps, maps[1:])
        ]
    )


def _gradients(sigma: Tensor, maps: list) -> tuple:
    weights = torch.linspace(0.5, 2, sigma.numel(), dtype=sigma.dtype).view_as(sigma)
    return torch.autograd.grad((sigma * weights).sum(), maps)


PLANS = [Plan(images, formed) for images in (1, 2, 5) for formed in itertools.product((False, True), repeat=3)]


@pytest.mark.parametrize('plan', PLANS, ids=str)
def test_every_plan_gives_the_exact_norms_and_gradients(plan: Plan) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    expected = _exact(maps)
    sigma = transmitting_spectral_norms(maps, n_iters=9, plan=plan)
    torch.testing.assert_close(sigma, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(_gradients(sigma, maps), _gradients(expected, maps), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('plan', PLANS[::3], ids=str)
def test_every_plan_iterates_power_alike(plan: Plan) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    sigmas = [transmitting_spectral_norms(maps, method='power', plan=p) for p in (plan, PLANS[-1])]
    torch.testing.assert_close(sigmas[0], sigmas[1])
    torch.testing.assert_close(*(_gradients(sigma, maps) for sigma in sigmas))


@pytest.mark.parametrize('method', ['lanczos', 'power', 'svd'])
def test_a_chain_is_its_pairs(method: str) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    together = transmitting_spectral_norms(maps, method=method)
    one_by_one = torch.stack([transmitting_spectral_norm(x, y, method=method) for x, y in zip(maps, maps[1:])])
    torch.testing.assert_close(together, one_by_one)
    torch.testing.assert_close(_gradients(together, maps), _gradients(one_by_one, maps))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('shapes', [TAPS, TAPS[:2]])
def test_half_maps_get_the_gradient_of_their_float32_copies_in_their_own_dtype(
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


@pytest.mark.parametrize('formed', [False, True])
@pytest.mark.parametrize('images', [1, 5])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_no_layout_changes_value_or_gradient(layout: str, images: int, formed: bool) -> None:
    plan = Plan(images, (formed,) * 3)
    maps = [feature.requires_grad_() for feature in _maps()]
    laid_out = [LAYOUTS[layout](feature.detach()).requires_grad_() for feature in maps]
    expected, sigma = (transmitting_spectral_norms(taps, plan=plan) for taps in (maps, laid_out))
    torch.testing.assert_close(sigma, expected)
    torch.testing.assert_close(_gradients(sigma, laid_out), _gradients(expected, maps))


def test_channels_last_maps_are_not_copied_and_their_gradients_are_channels_last() -> None:
    x, y = (feature.to(memory_format=torch.channels_last).requires_grad_() for feature in _maps(shapes=TAPS[2:]))
    assert positions(x, (3, 3)).data_ptr() == x.data_ptr()
    for gradient in _gradients(transmitting_spectral_norms((x, y)), (x, y)):
        assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_single_images_are_read_in_blocks_without_a_copy() -> None:
    from lckd_mm.spectral.operator import RowBlocks

    matrix = torch.randn(1, 8, 15, dtype=torch.float64)
    for laid_out in (matrix, matrix.mT.contiguous().mT):
        blocks = RowBlocks(laid_out)
        assert len(blocks._blocks) > 1
        assert blocks._blocks.data_ptr() == laid_out.data_ptr()
        row, column = torch.randn(1, 1, 8, dtype=torch.float64), torch.randn(1, 1, 15, dtype=torch.float64)
        torch.testing.assert_close(blocks.left(row), row @ matrix)
        torch.testing.assert_close(blocks.right(column), column @ matrix.mT)


@pytest.mark.parametrize(('method', 'rank'), [('lanczos', 1), ('svd', 1), ('power', 10)])
def test_only_vectors_are_kept_for_the_backward_pass(method: str, rank: int) -> None:
    maps = [feature.requires_grad_() for feature in _maps()]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        transmitting_spectral_norms(maps, method=method)
    pairs = [(x.shape[1], y.shape[1], y.shape[2] * y.shape[3]) for x, y in zip(maps, maps[1:])]
    assert sum(kept) == sum(5 * rank * (c1 + c2 + 2 * n) for c1, c2, n in pairs)


def test_the_maps_may_be_overwritten_between_forward_and_backward() -> None:
    x, y = (feature.requires_grad_() for feature in _maps(shapes=TAPS[:2]))
    expected = _gradients(transmitting_spectral_norms((x, y)), (x, y))
    x_used, y_used = x * 1, y * 1
    sigma = transmitting_spectral_norms((x_used, y_used))
    x_used.relu_()
    y_used.zero_()
    (x_grad,) = torch.autograd.grad((sigma * torch.linspace(0.5, 2, 5, dtype=sigma.dtype)).sum(), x, retain_graph=True)
    # The ReLU's own gradient does not come into it: sigma was taken before.
    torch.testing.assert_close(x_grad, expected[0])


@pytest.mark.parametrize('formed', [False, True])
@pytest.mark.parametrize('interface', ['for all', 'by backend'])
def test_the_precision_a_user_allows_for_other_products_does_not_reach_ours(interface: str, formed: bool) -> None:
    maps = _maps(torch.float32)
    expected = transmitting_spectral_norms(maps, plan=Plan(5, (formed,) * 3))
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        if interface == 'for all':
            torch.set_float32_matmul_precision('medium')
        else:
            torch.backends.cuda.matmul.fp32_precision = 'tf32'
            torch.backends.mkldnn.matmul.fp32_precision = 'bf16'
        assert torch.equal(transmitting_spectral_norms(maps, plan=Plan(5, (formed,) * 3)), expected)
        assert [backend.fp32_precision for backend in backends] == ['tf32', 'bf16']
    finally:
        for backend, precision in zip(backends, before):
            backend.fp32_precision = precision


def test_a_batch_without_images_gives_no_norms() -> None:
    maps = [feature[:0].requires_grad_() for feature in _maps()]
    assert transmitting_spectral_norms(maps).shape == (3, 0)


def test_one_map_is_no_pair() -> None:
    with pytest.raises(ValueError, match='1 feature map was given'):
        transmitting_spectral_norms(_maps()[:1])


def _plan(*pairs: tuple, batch: int = 8, method: str = 'lanczos', n_iters: int = 5, device: str = 'cpu') -> Plan:
    return make_plan(pairs, batch, method, n_iters, 4, device)


def test_the_plan_follows_the_shapes() -> None:
    assert _plan((1024, 2048, 49)) == Plan(8, (False,)), 'small maps: all images at once'
    assert _plan((256, 512, 33600)).images_per_chunk == 1, 'maps larger than the cache: image by image'
    assert _plan((16, 32, 1024), batch=128).formed == (True,), 'few channels: the matrix is tiny'
    assert _plan((64, 128, 49), (1024, 2048, 49), n_iters=50).formed == (True, False), 'each pair for itself'
    assert _plan((256, 512, 784), batch=64, device='cuda').images_per_chunk == 64, 'a GPU streams the batch'
    assert _plan((256, 512, 784), method='svd') == Plan(1, (False,))
    assert describe(Plan(2, (True, False))) == '2 images, factored and formed'


class _Model(torch.nn.Module):
    """Two convolutions and the connector, as of a student."""

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


def test_functional_call_works() -> None:
    model, image = _Model(), torch.randn(2, 3, 16, 16)
    parameters = {name: parameter.detach() * 2 for name, parameter in model.named_parameters()}
    called = torch.func.functional_call(model, parameters, image)
    model.load_state_dict(parameters)
    torch.testing.assert_close(called, model(image).detach())
