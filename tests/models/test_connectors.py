from itertools import pairwise

import pytest
import torch

from lckd_mm.models import ChannelNormConnector, PointwiseAdapter, SpectralNormConnector
from lckd_mm.models.interfaces import joins_networks
from lckd_mm.spectral import transmitting_matrix

MAPS = tuple(torch.randn(2, c, s, s, generator=torch.Generator().manual_seed(c)) for c, s in ((4, 16), (8, 8), (6, 4)))


def test_rows_are_the_norms_of_consecutive_pairs() -> None:
    norms = SpectralNormConnector(num_iters=8)(MAPS)
    expected = [torch.linalg.matrix_norm(transmitting_matrix(x, y), 2) for x, y in pairwise(MAPS)]
    torch.testing.assert_close(norms, torch.stack(expected))


@pytest.mark.parametrize(
    ('settings', 'error'),
    [(dict(method='svdd'), ValueError), (dict(num_iters=0), ValueError), (dict(num_iters='5'), TypeError)],
)
def test_wrong_option_is_rejected_at_construction(settings: dict, error: type) -> None:
    with pytest.raises(error, match=next(iter(settings))):
        SpectralNormConnector(**settings)


def test_input_other_than_a_sequence_of_two_maps_is_rejected() -> None:
    with pytest.raises(TypeError, match='Tensor'):
        SpectralNormConnector()(MAPS[0])
    with pytest.raises(ValueError, match='1 feature map'):
        SpectralNormConnector()(MAPS[:1])


def test_adapter_has_the_published_initialization() -> None:
    torch.manual_seed(0)
    adapter = PointwiseAdapter(64, 256)
    assert adapter.conv.bias is None
    assert adapter.conv.weight.var().item() == pytest.approx(2 / 256, rel=0.05)
    assert adapter.bn.weight.eq(1).all()
    assert adapter.bn.bias.eq(0).all()


def test_adapter_maps_tokens_like_a_map_of_the_same_positions() -> None:
    adapter = PointwiseAdapter(4, 5).eval()
    tokens = MAPS[0].flatten(2).transpose(1, 2)
    torch.testing.assert_close(adapter(tokens), adapter(MAPS[0]).flatten(2).transpose(1, 2))


def test_adapter_without_gain_ignores_the_scale_of_the_student() -> None:
    adapter = PointwiseAdapter(3, 5, affine=False)
    assert not list(adapter.bn.parameters())
    feature = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(adapter(feature), adapter(7 * feature), rtol=1e-4, atol=1e-4)


def test_orthogonal_adapters_leave_the_norms_of_the_raw_taps() -> None:
    """Why there is no orthogonal adapter (VkD, arXiv 2403.06213) for norms: the raw taps give the same loss."""
    random = torch.Generator().manual_seed(0)
    taps = [torch.randn(2, channels, 6, 5, generator=random) for channels in (3, 4, 6)]
    adapted = []
    for tap in taps:
        columns = torch.linalg.qr(torch.randn(8, tap.shape[1], generator=random))[0]
        adapted.append(torch.einsum('oc,bchw->bohw', columns, tap))
    norms = SpectralNormConnector(method='svd')
    torch.testing.assert_close(norms(adapted), norms(taps))


@pytest.mark.parametrize('training', [True, False])
def test_normalized_channels_have_mean_0_and_variance_1_over_batch_and_positions(training: bool) -> None:
    maps = [5 * feature.double() + 3 for feature in MAPS]
    for feature, normalized in zip(maps, ChannelNormConnector(eps=1e-12).train(training)(maps)):
        mean = feature.mean((0, 2, 3), keepdim=True)
        std = (feature - mean).square().mean((0, 2, 3), keepdim=True).sqrt()
        torch.testing.assert_close(normalized, (feature - mean) / std)


def test_tokens_are_normalized_like_a_map_of_the_same_positions() -> None:
    (tokens,) = ChannelNormConnector()([MAPS[0].flatten(2).transpose(1, 2)])
    torch.testing.assert_close(tokens, ChannelNormConnector()([MAPS[0]])[0].flatten(2).transpose(1, 2))


def test_the_scale_of_an_adapter_has_no_effect_on_its_normalized_map() -> None:
    adapter = PointwiseAdapter(4, 5)
    (expected,) = ChannelNormConnector()([adapter.conv(MAPS[0])])
    torch.nn.init.uniform_(adapter.bn.weight, 0.5, 2.0)
    torch.nn.init.normal_(adapter.bn.bias)
    torch.testing.assert_close(ChannelNormConnector()([adapter(MAPS[0])])[0], expected, rtol=1e-4, atol=1e-4)


def test_the_norms_of_two_networks_are_those_of_each() -> None:
    connector = SpectralNormConnector(num_iters=8)
    networks = [MAPS, MAPS[:2]]
    for together, alone in zip(connector.forward_networks(networks), map(connector, networks)):
        torch.testing.assert_close(together, alone)
    with pytest.raises(ValueError, match='1 feature map'):
        connector.forward_networks([MAPS, MAPS[:1]])


def test_only_a_connector_with_its_own_way_for_networks_joins_them() -> None:
    class Overridden(SpectralNormConnector):
        def forward(self, feature: object, *args: object, **kwargs: object) -> torch.Tensor:
            return 2 * super().forward(feature, *args, **kwargs)

    assert joins_networks(SpectralNormConnector())
    assert not joins_networks(Overridden())
    assert not joins_networks(PointwiseAdapter(3, 5))
