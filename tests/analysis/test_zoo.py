import json
from pathlib import Path
from typing import Any

import pytest

from lckd_mm.analysis.stock_configs import stock_configs
from lckd_mm.analysis.zoo import check_model, distillation_step, summarize, walk_zoo
from lckd_mm.models.utils import build_model

FILES = {path.name: path for path in stock_configs()}


@pytest.mark.parametrize(
    ('config', 'options'),
    [
        ('mmpretrain::vgg/vgg11_8xb32_in1k.py', {'backbone.num_classes': -1}),
        (
            'mmpretrain::deit/deit-tiny_4xb256_in1k.py',
            {'backbone.arch': dict(embed_dims=24, num_layers=4, num_heads=2, feedforward_channels=48, _delete_=True)},
        ),
        ('mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py', {}),
        ('mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py', {'backbone.depths': [1, 1, 1, 1]}),
        ('mmseg::hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024.py', {}),
        ('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', {}),
    ],
)
def test_the_gradient_of_the_lipschitz_loss_at_found_taps_reaches_the_backbone(
    config: str, options: dict[str, Any]
) -> None:
    student, teacher = (build_model(dict(cfg_path=config, cfg_options=options)) for _ in range(2))
    taps, gradient = distillation_step(student, teacher)
    assert len(taps) == 4
    assert float(gradient) > 0


def test_results_are_continued_with_one_config_per_combination(tmp_path: Path) -> None:
    names = ['mobilenet-v3-small-050_8xb128_in1k.py', 'mobilenet-v3-small_8xb128_in1k.py', 'tta.py', 'broken.py']
    for name in names[2:]:
        (tmp_path / name).write_text("tta_model = dict(type='A')\n" if name == 'tta.py' else "model = dict(type='A')\n")
    paths = [FILES.get(name, tmp_path / name) for name in names]
    file = tmp_path / 'zoo.jsonl'
    records = list(walk_zoo(paths, file))
    assert [record['status'] for record in records] == ['works', 'not built']
    assert records[0]['taps'][-1] == 'backbone.layer12 at 32: last map at stride 32 before its Hardswish'
    assert records == [json.loads(line) for line in file.read_text().splitlines()]
    assert list(walk_zoo(paths, file)) == []
    assert summarize(records).startswith('2 combinations: works: 1, refused: 0, fails: 0, not built: 1\nnot built: ')


def test_a_check_that_does_not_end_is_ended(tmp_path: Path) -> None:
    record = next(walk_zoo([FILES['resnet18_8xb32_in1k.py']], tmp_path / 'zoo.jsonl', timeout=0.01))
    assert (record['status'], record['message']) == ('fails', 'ended after 0.01 s')


def test_a_frozen_backbone_is_refused() -> None:
    result = check_model(FILES['resnet50_8xb32-linear-coslr-100e_in1k.py'])
    assert result['status'] == 'refused'
    assert 'frozen' in result['message']
