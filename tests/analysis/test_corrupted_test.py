import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmrazor.registry import MODELS

from lckd_mm.analysis.corrupted_test import corrupt_dataset, select_split
from lckd_mm.cli.test import main
from lckd_mm.engine import CorruptImage
from lckd_mm.engine.corruptions import parse_corruptions
from lckd_mm.errors import ConfigValueError
from tests.helpers.small_classifiers import classifier

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackInputs')


def types(dataset: dict) -> list[str]:
    return [step['type'].rpartition('.')[2] for step in dataset['pipeline']]


def test_corruption_follows_the_loading_of_the_image_in_all_data_sets_of_a_wrapper() -> None:
    inner = dict(type='A', pipeline=[dict(type='mmseg.LoadImageFromFile'), dict(type='LoadAnnotations'), PACK])
    wrapped = dict(type='Concat', datasets=[inner, dict(type='Fold', dataset=inner, metainfo=dict(classes=('a',)))])
    first, fold = corrupt_dataset(wrapped, 'fog', 3)['datasets']
    assert (
        types(first) == types(fold['dataset']) == ['LoadImageFromFile', 'CorruptImage', 'LoadAnnotations', 'PackInputs']
    )
    assert fold['metainfo'] == dict(classes=('a',))
    # The config itself stays as it is.
    assert types(inner) == ['LoadImageFromFile', 'LoadAnnotations', 'PackInputs']


def test_images_that_the_data_set_has_in_memory_are_corrupted_first_as_rgb() -> None:
    corrupted = corrupt_dataset(dict(type='CIFAR10', pipeline=[PACK]), 'fog', 3)
    assert types(corrupted) == ['CorruptImage', 'PackInputs']
    assert corrupted['pipeline'][0]['channel_order'] == 'rgb'


def test_data_set_without_a_pipeline_is_refused() -> None:
    with pytest.raises(ConfigValueError, match='data set A has no pipeline'):
        corrupt_dataset(dict(type='A'), 'fog', 3)


def test_names_without_a_severity_stand_for_three() -> None:
    assert parse_corruptions(['fog', 'snow:2']) == [('fog', 1), ('fog', 3), ('fog', 5), ('snow', 2)]
    for text in ('fog:', 'fog:0', 'fog:x', 'fogg:1'):
        with pytest.raises(ConfigValueError):
            parse_corruptions([text])


def test_no_name_stands_for_the_default_corruptions() -> None:
    pairs = parse_corruptions([])
    assert len(pairs) == 14 * 3
    assert {severity for _, severity in pairs} == {1, 3, 5}
    assert 'glass_blur' not in dict(pairs)
    assert parse_corruptions(['none']) == []
    assert parse_corruptions(['none', 'fog:1']) == [('fog', 1)]


def test_split_replaces_data_and_metrics() -> None:
    cfg = Config(dict(val_dataloader=dict(batch_size=3), val_evaluator=dict(type='A')))
    select_split(cfg, 'val')
    assert (cfg.test_dataloader.batch_size, cfg.test_evaluator.type, cfg.test_cfg) == (3, 'A', {})
    with pytest.raises(ConfigValueError, match='no test_dataloader'):
        select_split(Config(dict()), 'test')


def test_metrics_are_those_of_the_model_on_the_corrupted_images(tmp_path: Path) -> None:
    """The verb `test` gives the metrics of predictions that are computed here, image by image."""
    pytest.importorskip('imagecorruptions', reason='imagecorruptions is not installed')
    images = np.random.default_rng(0).integers(0, 256, (9, 40, 36, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        path = tmp_path / 'images' / str(index % 3) / f'{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    torch.manual_seed(0)
    preprocessor = dict(mean=[127] * 3, std=[20] * 3, to_rgb=True, num_classes=3, type='mmpretrain.ClsDataPreprocessor')
    architecture = dict(classifier(), data_preprocessor=preprocessor)
    model = MODELS.build(architecture).eval()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    dataset = dict(type='CustomDataset', data_root=str(tmp_path / 'images'), pipeline=[LOAD, PACK])
    loader = dict(batch_size=4, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False))
    Config(
        dict(
            model=architecture,
            default_scope='mmpretrain',
            val_dataloader=loader,
            val_evaluator=dict(type='Accuracy'),
            val_cfg=dict(),
            experiment_name=tmp_path.name,
        )
    ).dump(tmp_path / 'config.py')
    arguments = [str(tmp_path / 'config.py'), str(tmp_path / 'model.pth'), '--work-dir', str(tmp_path / 'out')]
    main(
        [
            *arguments,
            '--split',
            'val',
            '--add-metrics',
            'mmrazor.Calibration',
            '--corruptions',
            'contrast:5',
            'speckle_noise:3',
        ]
    )
    lines = [json.loads(line) for line in (tmp_path / 'out' / 'corruptions.jsonl').read_text().splitlines()]
    assert [(line['corruption'], line['severity']) for line in lines] == [
        ('none', 0),
        ('contrast', 5),
        ('speckle_noise', 3),
    ]
    # The data set has the images class by class.
    order = sorted(range(9), key=lambda index: index % 3)
    for line in lines:
        scores = []
        for position, index in enumerate(order):
            image = images[index]
            if line['severity']:
                step = CorruptImage(line['corruption'], line['severity'])
                image = step(dict(img=image, sample_idx=position))['img']
            inputs = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)]
            with torch.no_grad():
                scores.append(model.test_step(dict(inputs=inputs))[0].pred_score)
        labels = torch.tensor([index % 3 for index in order])
        stacked = torch.stack(scores)
        accuracy = 100 * (stacked.argmax(1) == labels).float().mean()
        likelihood = -stacked[range(9), labels].log().mean()
        assert line['metrics']['accuracy/top1'] == pytest.approx(float(accuracy), abs=1e-3)
        assert line['metrics']['calibration/nll'] == pytest.approx(float(likelihood), rel=1e-4)
        assert line['added'] == ['calibration/ece', 'calibration/nll']
    assert len({round(line['metrics']['calibration/nll'], 6) for line in lines}) == 3


def test_unknown_metrics_are_refused(tmp_path: Path) -> None:
    from lckd_mm.analysis.corrupted_test import add_metrics
    from tests.helpers.toy_runners import toy_runner

    runner = toy_runner(classifier(), tmp_path)
    with pytest.raises(ConfigValueError, match="metric 'Calibrations' is not in the registry"):
        add_metrics(runner, ['Calibrations'])
