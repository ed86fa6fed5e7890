"""EfficientNet-Lite: its stages, dilation, taps and options."""

from typing import Any

import pytest
import torch
from torch import nn

from lckd_mm.errors import ConfigValueError
from lckd_mm.models import EfficientNetLite, PreActivationRecorder

ALL_STAGES = tuple(range(6))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ('arch', 'channels', 'blocks'),
    [
        ('lite0', [16, 24, 40, 112, 320, 1280], [1, 2, 2, 6, 5]),
        ('lite1', [16, 24, 40, 112, 320, 1280], [1, 3, 3, 8, 6]),
        ('lite2', [16, 24, 48, 120, 352, 1280], [1, 3, 3, 8, 6]),
    ],
)
def test_stages_have_the_documented_strides_channels_and_blocks(arch: str, channels: list, blocks: list) -> None:
    backbone = EfficientNetLite(arch, out_indices=ALL_STAGES).eval()
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(channels, (2, 4, 8, 16, 32, 32))
    ]
    assert [len(getattr(backbone, f'layer{stage}')) for stage in (1, 2, 3, 4, 5)] == blocks


@pytest.mark.parametrize('size', [65, 127])
def test_sizes_that_the_stride_does_not_divide_are_rounded_up(size: int) -> None:
    maps = EfficientNetLite(out_indices=ALL_STAGES).eval()(torch.randn(1, 3, size, size))
    assert [m.shape[-1] for m in maps] == [-(-size // s) for s in (2, 4, 8, 16, 32, 32)]


@pytest.mark.parametrize(('output_stride', 'levels'), [(16, {4: 1}), (8, {3: 1, 4: 2})])
def test_a_dilated_network_contains_the_maps_of_the_strided_one(output_stride: int, levels: dict[int, int]) -> None:
    image = torch.randn(1, 3, 128, 64, dtype=torch.float64)
    strided = EfficientNetLite(out_indices=ALL_STAGES, norm_cfg=dict(type='BN', momentum=1.0)).double()
    # One batch sets the running statistics, so that the maps of the deep stages are not close to 0.
    assert min(feature.std().item() for feature in strided(image)) > 0.1
    strided.eval()
    dilated = EfficientNetLite(out_indices=ALL_STAGES, output_stride=output_stride).double().eval()
    dilated.load_state_dict(strided.state_dict())
    for index, (expected, actual) in enumerate(zip(strided(image), dilated(image))):
        step = 2 ** levels.get(min(index, 4), 0)
        # With an even size and padding 'SAME', the center of a strided kernel is the second of two pixels.
        torch.testing.assert_close(actual[..., step - 1 :: step, step - 1 :: step], expected)


def test_stages_after_the_last_output_are_not_built() -> None:
    backbone = EfficientNetLite(out_indices=(1, 3))
    assert not hasattr(backbone, 'layer5')
    assert not hasattr(backbone, 'conv_head')
    assert backbone.out_channels == 112
    sum(m.sum() for m in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_the_output_of_a_stage_is_its_map_before_the_activation() -> None:
    backbone = EfficientNetLite(out_indices=ALL_STAGES)
    recorders = [PreActivationRecorder(name) for name in backbone.stages]
    for recorder in recorders:
        recorder.initialize(backbone)
        recorder.__enter__()
    maps = backbone(torch.randn(2, 3, 64, 64))
    records = [recorder.get_record_data() for recorder in recorders]
    assert not any(recorder.overwritten() for recorder in recorders)
    for record, feature in zip(records[:5], maps[:5]):
        assert torch.equal(record, feature)
        assert (feature < 0).any(), 'a projection has no activation'
    assert torch.equal(records[5].clamp(0, 6), maps[5])
    assert (records[5] < 0).any()


def test_recomputation_changes_neither_outputs_nor_gradients() -> None:
    image = torch.randn(2, 3, 64, 64)
    state, grads = EfficientNetLite().state_dict(), []
    for with_cp in (False, True):
        backbone = EfficientNetLite(with_cp=with_cp, norm_eval=True)
        backbone.load_state_dict(state)
        backbone.train()
        backbone(image)[0].square().mean().backward()
        grads.append([parameter.grad for parameter in backbone.parameters()])
    for plain, recomputed in zip(*grads):
        torch.testing.assert_close(recomputed, plain)


def test_stochastic_depth_grows_linearly_and_skips_only_residual_branches() -> None:
    backbone = EfficientNetLite(drop_path_rate=0.16)
    blocks = [block for stage in backbone.stages[:5] for block in getattr(backbone, stage)]
    assert len(blocks) == 16
    for index, block in enumerate(blocks):
        rate = getattr(block.drop_path, 'drop_prob', 0.0)
        assert rate == pytest.approx(0.16 * index / 16 if block.has_shortcut else 0.0)
    image = torch.randn(4, 3, 64, 64)
    assert not torch.equal(backbone.train()(image)[0], backbone(image)[0])
    assert torch.equal(backbone.eval()(image)[0], backbone(image)[0])


@pytest.mark.parametrize(
    ('norm_cfg', 'expected'),
    [(None, 1e-3), (dict(type='SyncBN', requires_grad=True), 1e-3), (dict(type='BN', eps=1e-5), 1e-5)],
)
def test_batch_normalizations_have_the_published_epsilon(norm_cfg: dict | None, expected: float) -> None:
    norms = [m for m in EfficientNetLite(norm_cfg=norm_cfg).modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(expected, 0.01)}


def test_other_normalizations_are_possible() -> None:
    backbone = EfficientNetLite(norm_cfg=dict(type='GN', num_groups=8))
    assert any(isinstance(module, nn.GroupNorm) for module in backbone.modules())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='lite5'), "arch 'lite5' is unknown; valid: 'lite0', .*did you mean"),
        (dict(output_stride=4), 'output_stride=4 is invalid: use 8, 16 or 32'),
        (dict(out_indices=(6,)), 'contains stage 6, but the stages are 0 to 5'),
        (dict(arch='lite4', pretrained=True), "no weights for arch='lite4': use 'lite0', 'lite1', 'lite2', or"),
        (dict(pretrained=True, init_cfg=dict(type='Kaiming')), 'two initializations: remove one'),
    ],
)
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        EfficientNetLite(**options)
