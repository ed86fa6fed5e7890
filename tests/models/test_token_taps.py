"""Taps that yield tokens: their height and width follow from the size of the images, for transformers of both codebases."""

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS as RAZOR_MODELS
from torch import Tensor, nn

from lckd_mm.models.utils import build_model
from lckd_mm.spectral import Grid
from tests.helpers.small_classifiers import TAPS, build_distillation, classifier, spectral_distiller, train_step

# Heights and widths in pixels. With patches of 16 they have 36 tokens in 4 x 9, 9 x 4, 6 x 6 and 2 x 18; the last has patches that
# are padded at the border.
SIZES = [(64, 144), (144, 64), (96, 96), (32, 288), (61, 139)]


def _classifier(**backbone: Any) -> dict[str, Any]:
    config = classifier()
    config['backbone'] = backbone
    config['head'].update(in_channels=backbone.pop('out_channels'))
    return config


def _vit(**options: Any) -> dict[str, Any]:
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
    defaults = dict(img_size=64, patch_size=16, out_type='featmap', final_norm=False, out_channels=8)
    return _classifier(**dict(defaults, type='VisionTransformer', arch=arch, **options))


def _segmentor(**backbone: Any) -> dict[str, Any]:
    head = dict(type='FCNHead', in_channels=backbone.pop('out_channels'), channels=4, num_classes=3, in_index=-1)
    return dict(type='EncoderDecoder', _scope_='mmseg', backbone=backbone, decode_head=head)


def _swin_of_mmpretrain() -> dict[str, Any]:
    arch = dict(embed_dims=8, depths=[1, 1, 1], num_heads=[1, 1, 1])
    return _classifier(
        type='SwinTransformer',
        arch=arch,
        img_size=64,
        window_size=4,
        pad_small_map=True,
        out_indices=(2,),
        out_channels=32,
    )


def _swin_of_mmseg() -> dict[str, Any]:
    return _segmentor(
        type='SwinTransformer',
        embed_dims=8,
        depths=(1, 1),
        num_heads=(1, 1),
        strides=(4, 2),
        out_indices=(0, 1),
        window_size=4,
        out_channels=16,
    )


def _mit_of_mmseg() -> dict[str, Any]:
    return _segmentor(
        type='MixVisionTransformer',
        embed_dims=4,
        num_stages=3,
        num_layers=[1, 1, 1],
        num_heads=[1, 1, 1],
        patch_sizes=[7, 3, 3],
        strides=[4, 2, 2],
        sr_ratios=[4, 2, 1],
        out_indices=(0, 1, 2),
        mlp_ratio=2,
        out_channels=4,
    )


def _record(tap: Any, recorded: dict) -> Any:
    def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
        recorded[str(tap)] = output if isinstance(tap, str) else output[tap['data_idx']]

    return hook


# Model, taps, and for each tap its stride and its number of class tokens.
MODELS = {
    'ViT': (
        _vit(),
        ['backbone.patch_embed.projection', 'backbone.layers.0', 'backbone.layers.1'],
        [(16, 0), (16, 1), (16, 1)],
    ),
    'ViT, first linear layers': (
        _vit(),
        ['backbone.patch_embed.projection', 'backbone.layers.0.ffn.layers.0.0', 'backbone.layers.1.ffn.layers.0.0'],
        [(16, 0), (16, 1), (16, 1)],
    ),
    'Swin of mmpretrain': (
        _swin_of_mmpretrain(),
        [dict(source=f'backbone.stages.{i}', data_idx=0) for i in range(3)],
        [(4, 0), (8, 0), (16, 0)],
    ),
    'Swin of mmseg': (
        _swin_of_mmseg(),
        [dict(source='backbone.stages.0', data_idx=2), dict(source='backbone.stages.0', data_idx=0)],
        [(4, 0), (8, 0)],
    ),
    'MiT of mmseg': (_mit_of_mmseg(), [f'backbone.layers.{i}.2' for i in range(3)], [(4, 0), (8, 0), (16, 0)]),
    'MiT of mmseg, inside a block': (
        _mit_of_mmseg(),
        ['backbone.layers.0.1.0.norm1', 'backbone.layers.1.1.0.norm1', 'backbone.layers.2.1.0.norm1'],
        [(4, 0), (8, 0), (16, 0)],
    ),
}


def _norms(maps: list[Tensor]) -> Tensor:
    """Spectral norms by PyTorch's own pooling and SVD, in float64."""
    norms = []
    for x, y in pairwise(maps):
        size = [min(a, b) for a, b in zip(x.shape[2:], y.shape[2:])]
        x, y = (F.adaptive_avg_pool2d(feature.double(), size).flatten(2) for feature in (x, y))
        norms.append(torch.linalg.svdvals(x @ y.mT / x.shape[2])[:, 0])
    return torch.stack(norms)


def _to_map(record: Tensor, stride: int, num_prefix: int, size: tuple) -> Tensor:
    if record.dim() == 4:
        return record
    grid = [-(-length // stride) for length in size]
    return record[:, num_prefix:].mT.unflatten(2, grid)


@pytest.mark.parametrize('name', MODELS)
def test_norms_of_tokens_are_those_of_their_maps(name: str, batch: tuple) -> None:
    config, taps, geometry = MODELS[name]
    # The student has convolutional maps at the same places, so both networks have grids of their own.
    student_taps = [f'backbone.layer{i}' for i in range(1, len(taps) + 1)]
    connectors = dict(norms=dict(type='SpectralNormConnector', method='svd'))
    distiller = spectral_distiller(student_taps=student_taps, teacher_taps=taps, connectors=connectors)
    model = build_distillation(distiller, teacher=config)
    model.init_weights()
    recorded: dict[str, Tensor] = {}
    for tap in taps:
        module = model.teacher.get_submodule(tap if isinstance(tap, str) else tap['source'])
        # The forward pass of the teacher ends in the hook of its last tap.
        module.register_forward_hook(_record(tap, recorded), prepend=True)
    for size in SIZES:
        losses = train_step(model, (torch.randn(2, 3, *size), batch[1][:2]))
        assert losses['distill.loss_lipschitz'].isfinite()
        maps = [_to_map(recorded[str(tap)], *place, size) for tap, place in zip(taps, geometry)]
        norms = model.distiller.spectral_norms['loss_lipschitz']['teacher']
        expected = _norms(maps)
        for row in range(len(expected)):
            pair = [recorded[str(tap)] for tap in taps[row : row + 2]]
            if all(record.dim() == 3 for record in pair) and pair[0].shape[1] == pair[1].shape[1]:
                # Nothing is pooled, so a class token takes part.
                x, y = (record.double().mT for record in pair)
                expected[row] = torch.linalg.svdvals(x @ y.mT / x.shape[2])[:, 0]
        torch.testing.assert_close(norms, expected.float(), rtol=1e-4, atol=1e-7)


def test_a_transformer_teaches_a_transformer_of_other_patches(batch: tuple) -> None:
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
    student = _vit()
    student['backbone'].update(patch_size=32, with_cls_token=False, arch=arch)
    taps = ['backbone.patch_embed.projection', 'backbone.layers.1']
    model = build_distillation(spectral_distiller(taps=taps), architecture=student, teacher=_vit())
    model.init_weights()
    train_step(model, (torch.randn(2, 3, 64, 160), batch[1][:2]))
    networks = model.distiller.network_taps
    grids = [
        networks[side].token_grids.find(('tap1', 0, None, 0), n, (64, 160)) for side, n in ((True, 10), (False, 41))
    ]
    assert grids == [Grid(2, 5), Grid(4, 10, 1)]


def test_a_transformer_of_one_image_size_is_probed_at_this_size() -> None:
    arch = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=16)
    teacher = _classifier(
        type='BEiTViT', arch=arch, img_size=48, patch_size=16, out_type='cls_token', final_norm=False, out_channels=8
    )
    teacher['neck'] = None
    taps = ['backbone.patch_embed.projection', 'backbone.layers.0']
    model = build_distillation(spectral_distiller(student_taps=TAPS[:2], teacher_taps=taps), teacher=teacher)
    assert model.distiller.network_taps[False].token_grids.find(('tap1', 0, None, 0), 10, (48, 48)) == Grid(3, 3, 1)


def test_pooled_tokens_need_their_grid_where_the_size_of_the_images_is_unknown(batch: tuple) -> None:
    # MMRazor's algorithm does not pass the size to its distiller.
    def build(grid: dict) -> nn.Module:
        taps = ['backbone.patch_embed.projection', dict(source='backbone.layers.1', **grid)]
        distiller = spectral_distiller(student_taps=TAPS[:2], teacher_taps=taps)
        networks = dict(architecture=classifier(), teacher=_vit())
        for network in networks.values():
            network.update(type='ImageClassifier', _scope_='mmpretrain')
        return RAZOR_MODELS.build(dict(type='SingleTeacherDistill', _scope_='mmrazor', distiller=distiller, **networks))

    with pytest.raises(ValueError, match=r'tokens do not follow from the size of the images; give them, dict\(source='):
        train_step(build({}), batch)
    assert train_step(build(dict(grid=(4, 4, 1))), batch)['distill.loss_lipschitz'].isfinite()


def test_pooled_tokens_of_an_unprobed_model_need_their_grid(batch: tuple) -> None:
    def build(grid: dict) -> nn.Module:
        taps = ['backbone.patch_embed.projection', dict(source='backbone.layers.1', **grid)]
        # Neither network runs on an image of five channels.
        options = dict(student_taps=TAPS[:2], teacher_taps=taps, adapters=False, probe_inputs=(5, 64, 64))
        model = build_distillation(spectral_distiller(**options), teacher=_vit())
        model.init_weights()
        return model

    with pytest.raises(ValueError, match=r'do not follow from images of 64 x 64 pixels; give them'):
        train_step(build({}), batch)
    assert train_step(build(dict(grid=(4, 4, 1))), batch)['distill.loss_lipschitz'].isfinite()


def test_the_tokens_of_windows_are_not_pooled() -> None:
    taps = ['backbone.stages.0.blocks.0.attn.w_msa', dict(source='backbone.stages.1', data_idx=0)]
    distiller = spectral_distiller(student_taps=TAPS[:2], teacher_taps=taps)
    with pytest.raises(ValueError, match=r"taps 'backbone.stages.0.blocks.0.attn.w_msa' and .* batch size \d+ and y"):
        build_distillation(distiller, teacher=_swin_of_mmpretrain())


class _Tokens(nn.Module):
    """Stands for a backbone whose number of tokens does not depend on the image."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.num_tokens = num_tokens

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(x.flatten(2), self.num_tokens).mT


@pytest.mark.parametrize('grid', [None, (4, 9), (2, 17, 2)])
def test_tokens_that_do_not_follow_the_image_need_a_grid(grid: tuple | None, batch: tuple) -> None:
    teacher = build_model(classifier())
    teacher.backbone.layer2.add_module('tokens', _Tokens(36))
    teacher.backbone.layer2.forward = lambda x: _call_both(teacher.backbone.layer2, x)
    tap = dict(source='backbone.layer2.tokens', **({} if grid is None else dict(grid=grid)))
    distiller = spectral_distiller(student_taps=TAPS[1:3], teacher_taps=[tap, 'backbone.layer3'])
    if grid is not None:
        model = build_distillation(distiller, teacher=teacher)
        model.init_weights()
        assert train_step(model, batch)['distill.loss_lipschitz'].isfinite()
        return
    wrong = [dict(tap, grid=(4, 8)), 'backbone.layer3']
    with pytest.raises(ValueError, match=r'36 tokens .* correct grid=\(4, 8\), which has another number of tokens'):
        build_distillation(spectral_distiller(student_taps=TAPS[1:3], teacher_taps=wrong), teacher=teacher)
    message = (
        r"teacher's taps \['backbone.layer2.tokens'\] cannot be paired: 36 tokens and a map of 64 positions .* "
        r"give them, dict\(source='backbone.layer2.tokens', grid=\(h, w\)\)"
    )
    with pytest.raises(ValueError, match=message):
        build_distillation(distiller, teacher=teacher)


def _call_both(stage: nn.Sequential, x: Tensor) -> Tensor:
    *blocks, tokens = stage
    for block in blocks:
        x = block(x)
    tokens(x)
    return x


@pytest.mark.parametrize('name', ['pkd', 'cwd', 'at', 'fitnet'])
def test_a_map_loss_of_tokens_reaches_a_transformer_with_other_channels(name: str, batch: tuple) -> None:
    wide = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=16)
    taps = ['backbone.layers.0', 'backbone.layers.1']
    distiller = dict(type='LipschitzDistiller', taps=taps, losses=[name])
    teacher = _vit()
    teacher['backbone']['arch'], teacher['head']['in_channels'] = wide, 12
    model = build_distillation(distiller, architecture=_vit(), teacher=teacher)
    model.init_weights()
    model.train()
    loss = model(*batch, mode='loss')[f'distill.loss_{name}']
    loss.backward()
    assert loss > 0
    assert model.student.backbone.layers[0].ffn.layers[1].weight.grad.any()
