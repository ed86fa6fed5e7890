import copy
import functools
from pathlib import Path

import pytest
from mmengine.config import Config

from lckd_mm.analysis.comparison_file import load_comparison
from lckd_mm.analysis.comparison_splits import find_splits
from lckd_mm.analysis.configs import load_config
from lckd_mm.cli.options_action import OptionsAction
from lckd_mm.cli.parser import VerbParser
from lckd_mm.models.presets import expand_distiller
from lckd_mm.models.utils import read_config
from tests.helpers.tools import ROOT

FILES = sorted((ROOT / 'configs').glob('*/comparison*.yml'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.relative_to(ROOT / 'configs').as_posix())
def test_comparison_of_the_repository_is_complete(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Variants differ in few options: their files are read once.
    read_once = functools.cache(read_config)

    def read(path: str) -> Config:
        return copy.deepcopy(read_once(path))

    monkeypatch.setattr('lckd_mm.analysis.configs.read_config', read)
    monkeypatch.chdir(ROOT)
    comparison = load_comparison(path)
    parser = VerbParser()
    parser.add_argument('--options', nargs='+', action=OptionsAction, default={})
    for variant in comparison.variants:
        for point in variant.grid_values():
            options = [*comparison.training_options((*variant.options, *point), 'screening')]
            cfg = load_config(variant.config, parser.parse(['--options', *options]).options if options else None)
            assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_epochs
            if 'distiller' in cfg.model:
                # A misspelled option of a loss is an error here.
                expand_distiller(cfg.model.distiller.to_dict())
    splits = find_splits(comparison, comparison.variants[0].config)
    # Nothing is selected in the demonstrations, which report the images of the quick start.
    assert splits.same_images == (comparison.report_on == 'val')
    assert not (splits.same_images and (comparison.screening_seeds or comparison.confirm_best_of))
    work_dir = Path(comparison.teacher.config).stem
    max_epochs = load_config(comparison.teacher.config).train_cfg.max_epochs
    assert comparison.teacher.checkpoint == Path('work_dirs') / work_dir / f'epoch_{max_epochs}.pth'
