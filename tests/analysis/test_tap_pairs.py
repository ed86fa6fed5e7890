import pytest
from torch import nn

from lckd_mm.analysis.tap_finder import Tap
from lckd_mm.analysis.tap_pairs import find_pairs, pair_taps
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model
from lckd_mm.spectral import Grid
from tests.helpers.small_classifiers import classifier


def _taps(*strides: int) -> list[Tap]:
    return [Tap(f'part{i}', None, 0, (1, 8, 4, 4), stride, Grid(4, 4), '') for i, stride in enumerate(strides)]


def _paired(student: tuple, teacher: tuple) -> list[tuple[int, int]]:
    return [tuple(int(tap.source[4:]) for tap in pair) for pair in pair_taps(_taps(*student), _taps(*teacher))]


@pytest.mark.parametrize(
    ('student', 'teacher', 'pairs'),
    [
        ((4, 8, 16, 32), (4, 8, 16, 32), [(0, 0), (1, 1), (2, 2), (3, 3)]),
        # Frozen stages of the student, and another number of levels, leave out one tap.
        ((8, 16, 32), (4, 8, 16, 32), [(0, 1), (1, 2), (2, 3)]),
        ((4, 8, 16, 32), (8, 16, 32, 64), [(1, 0), (2, 1), (3, 2)]),
        ((1, 2, 4), (1, 2, 4, 8), [(0, 0), (1, 1), (2, 2)]),
        # Several taps at one stride are paired evenly.
        ((16, 16, 16, 16), (16, 16), [(1, 0), (3, 1)]),
        ((4, 8, 8, 8), (4, 8, 8, 8), [(0, 0), (1, 1), (2, 2), (3, 3)]),
        # Few common strides: in order.
        ((4, 8, 16, 32), (16, 16, 16, 16), [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ((4, 8, 16, 32), (4, 8, 8, 8), [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ((1, 2), (4, 8, 16, 32), [(0, 1), (1, 3)]),
    ],
)
def test_taps_are_paired(student: tuple, teacher: tuple, pairs: list[tuple[int, int]]) -> None:
    assert _paired(student, teacher) == pairs


def test_a_network_of_one_tap_is_refused() -> None:
    with pytest.raises(ConfigValueError, match=r"teacher has 1 taps \['part0'\].*needs two"):
        pair_taps(_taps(4, 8), _taps(4))


def test_pairs_of_two_models_have_logits_but_no_pyramid() -> None:
    found = find_pairs(build_model(classifier()), build_model(classifier(depth=50)))
    assert [(a.source, b.channels) for a, b in found.pairs] == [(f'backbone.layer{i}', 8 * 2**i) for i in (1, 2, 3, 4)]
    assert found.unpaired == []
    assert not found.in_order
    assert found.pyramid is None
    assert found.logits == ('head.fc', 'head.fc')
    assert find_pairs(build_model(classifier()), build_model(classifier(num_classes=4))).logits is None


def test_the_pyramid_is_suggested_where_its_strides_are_equal() -> None:
    def detector(neck: dict) -> nn.Module:
        options = {'backbone.base_channels': 8, 'backbone.stem_channels': 8, 'backbone.init_cfg': None}
        channels = [8, 16, 32, 64]
        options |= {f'neck.{key}': value for key, value in dict(neck, in_channels=channels, out_channels=8).items()}
        config = dict(cfg_path='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', cfg_options=options)
        return build_model(config)

    model = detector({})
    found = find_pairs(model, model)
    # The last level has one position on the probe image.
    assert found.pyramid == ('neck', (8, 16, 32, 64, 128))
    assert [tap.source for tap in found.unpaired] == ['backbone.layer1']
    assert find_pairs(model, detector(dict(num_outs=4))).pyramid is None


def test_both_models_are_probed_at_a_size_that_both_take() -> None:
    class Fixed(nn.Sequential):
        def forward(self, image):
            assert image.shape[2:] == (224, 224)
            return super().forward(image)

    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)]
    pairs = find_pairs(nn.Sequential(*layers), Fixed(*layers)).pairs
    assert [(a.grid, b.grid) for a, b in pairs] == [(Grid(112, 112),) * 2, (Grid(56, 56),) * 2]


@pytest.mark.parametrize(
    'config',
    [
        # One layer for all levels; a layer per level; a layer per decoder layer.
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
        'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
        # Heads that do not run without annotations: masks of regions, regions, queries of all decoder layers.
        'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
        'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
        'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    ],
)
def test_class_scores_of_levels_and_queries_do_not_correspond(config: str) -> None:
    model = build_model(dict(cfg_path=f'mmdet::{config}', cfg_options={'backbone.init_cfg': None}))
    found = find_pairs(model, model)
    assert found.logits is None
    assert 'regions, queries or several levels' in found.logits_obstacle


def test_a_classifier_with_a_sequence_of_linear_layers_has_class_scores() -> None:
    config = 'mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py'
    # As many hidden channels as classes.
    model = build_model(dict(cfg_path=f'mmpretrain::{config}', cfg_options={'head.num_classes': 1024}))
    assert find_pairs(model, model).logits == ('head.layers.1.fc',) * 2


@pytest.mark.parametrize(
    'config',
    [
        'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        'ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py',
        # Its head takes no small image.
        'mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024.py',
    ],
)
def test_class_scores_of_segmentors_are_maps(config: str) -> None:
    model = build_model(dict(cfg_path=f'mmseg::{config}', cfg_options={'pretrained': None}))
    found = find_pairs(model, model)
    assert found.logits is not None
    assert found.has_score_maps
