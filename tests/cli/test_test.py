from pathlib import Path

import pytest
from mmengine.config import Config

from lckd_mm.cli import test as verb
from lckd_mm.errors import ConfigValueError


def test_predictions_are_written_to_pickle_files_only() -> None:
    with pytest.raises(ConfigValueError, match=r"--out 'results.json'.*\.pkl"):
        verb.main(['mine.py', 'mine.pth', '--out', 'results.json'])


def test_drawing_sets_the_options_that_the_hook_takes() -> None:
    import mmdet.engine  # noqa: F401  (registers the hook)

    cfg = Config(
        dict(
            default_scope='mmdet',
            visualizer=dict(type='DetLocalVisualizer'),
            default_hooks=dict(visualization=dict(type='DetVisualizationHook')),
        )
    )
    verb.enable_drawing(cfg, show=False, folder='drawn')
    hook = cfg.default_hooks.visualization
    assert hook == dict(type='DetVisualizationHook', draw=True, show=False, test_out_dir='drawn')
    assert cfg.visualizer.save_dir == 'drawn'


def test_drawing_needs_a_hook() -> None:
    with pytest.raises(ConfigValueError, match='visualization'):
        verb.enable_drawing(Config(dict()), show=True, folder=None)


def test_augmentation_wraps_the_model_and_replaces_the_pipeline() -> None:
    cfg = Config(
        dict(
            model=dict(type='Detector'),
            tta_model=dict(type='TTA'),
            tta_pipeline=[dict(type='Flip')],
            test_dataloader=dict(dataset=dict(pipeline=[])),
        )
    )
    verb.enable_tta(cfg)
    assert cfg.model == dict(type='TTA', module=dict(type='Detector'))
    assert cfg.test_dataloader.dataset.pipeline == [dict(type='Flip')]


def test_augmentation_needs_its_entries() -> None:
    with pytest.raises(ConfigValueError, match='no tta_pipeline'):
        verb.enable_tta(Config(dict(tta_model=dict(type='TTA'))))


@pytest.mark.parametrize('path', ['weights.pkl', './weights.pkl'])
def test_the_predictions_do_not_replace_an_input(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('weights.pkl').write_text('weights')
    with pytest.raises(ConfigValueError, match=r'--out .* is the file of CHECKPOINT .* which would be lost'):
        verb.main(['mine.py', 'weights.pkl', '--out', path])
    assert Path('weights.pkl').read_text() == 'weights'
