"""Trainings that a user starts: what they write, and how they end when the configuration is wrong."""

from pathlib import Path

import pytest
from mmengine.config import Config

from tests.helpers.small_classifiers import classifier, distillation_config
from tests.helpers.tiny_configs import write_config, write_images
from tests.helpers.tools import run_tool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path)
    return tmp_path


@pytest.mark.training
def test_added_hooks_are_in_the_dumped_config_and_one_line_switches_one_off(folder: Path) -> None:
    config, work_dir = write_config(folder, classifier()), folder / 'work'
    options = ('default_hooks.annotation_check=None',)
    done = run_tool('tools/train.py', config, '--work-dir', work_dir, options=options)
    hooks = Config.fromfile(work_dir / 'tiny.py').default_hooks
    assert hooks.class_count == dict(type='mmrazor.ClassCountHook')
    assert hooks.sample_errors == dict(type='mmrazor.SampleErrorHook')
    assert 'annotation_check' in hooks
    assert hooks.annotation_check is None
    assert 'ClassCountHook' in (log := next(work_dir.glob('*/*.log')).read_text())
    assert 'AnnotationCheckHook' not in log
    # The terminal shows neither the config nor the order of the hooks.
    assert 'ClassCountHook' not in done.stdout + done.stderr
    assert (work_dir / 'epoch_1.pth').exists()


@pytest.mark.training
def test_hooks_of_a_distillation_are_registered_once(folder: Path) -> None:
    config = write_config(folder, distillation_config())
    with config.open('a') as file:
        file.write("default_hooks.update(class_count=dict(type='mmrazor.ClassCountHook'))\n")
    run_tool('tools/train.py', config, '--work-dir', folder / 'work')
    log = next((folder / 'work').glob('*/*.log')).read_text()
    before_train = log.partition('before_train:')[2].partition('-----')[0]
    assert before_train.count('ClassCountHook') == before_train.count('AnnotationCheckHook') == 1
    assert 'distill.loss_lipschitz' in log


def test_wrong_distiller_ends_with_one_sentence_and_status_2(folder: Path) -> None:
    config = write_config(folder, distillation_config(losses=['lipshitz']))
    done = run_tool('tools/train.py', config, '--work-dir', folder / 'work', ok=False)
    assert done.returncode == 2
    assert 'Traceback' not in done.stdout + done.stderr
    assert "did you mean 'lipschitz'?" in done.stderr.strip().splitlines()[-1]


def test_error_before_the_first_step_ends_with_one_sentence_and_status_2(folder: Path) -> None:
    """The number of classes is checked by a hook of the Runner."""
    config = write_config(folder, classifier(num_classes=5))
    done = run_tool('tools/train.py', config, '--work-dir', folder / 'work', ok=False)
    assert done.returncode == 2
    assert 'Traceback' not in done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert 'num_classes=5' in last
    assert '3 classes' in last


def test_debug_variable_shows_the_traceback(tmp_path: Path) -> None:
    done = run_tool('tools/train.py', tmp_path / 'none.py', ok=False, LCKD_DEBUG='1')
    assert done.returncode == 2
    assert 'Traceback' in done.stderr
    assert 'ConfigFileNotFoundError' in done.stderr.strip().splitlines()[-1]
