"""Wrong command lines end with one sentence that names value, valid values and fix, and overwrite nothing."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import lckd_mm
from lckd_mm import dependencies
from lckd_mm.cli import dispatch, entry
from lckd_mm.models.utils import config_file
from tests.helpers.refusals import check_refusal, training, write_case, write_workspace
from tests.helpers.tools import ROOT

CONFIG, CHECKPOINT = 'ROOT/valid.py', 'ROOT/teacher.pth'
DEMO = 'lckd_mm::demo/resnet_w4_digits.py'

# Command lines, and what the sentence contains.
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    'unknown verb': (('tran', CONFIG), ("'tran'", "'train'")),
    'config in place of a verb': ((CONFIG,), ('lckd-mm train',)),
    'no config': (('train',), ('CONFIG',)),
    'missing config': (('train', 'ROOT/nothing.py'), ('ROOT/nothing.py', 'does not exist')),
    'folder in place of a config': (('train', 'ROOT/train'), ('ROOT/train',)),
    'text in place of a config': (('train', 'ROOT/text.pth'), ('ROOT/text.pth',)),
    'syntax error in a config': (('train', 'ROOT/syntax.py'), ('ROOT/syntax.py', 'correct the file')),
    'misspelt package': (('train', 'mmdett::retinanet/retinanet_r18_fpn_1x_coco.py'), ("'mmdett'", "'mmdet'")),
    'unknown config of a package': (('train', 'lckd_mm::demo/resnet_w4_digit.py'), ('resnet_w4_digits.py',)),
    'misspelt option': (('train', CONFIG, '--work-dirr', 'x'), ("'--work-dirr'", "'--work-dir'")),
    'option without a value': (('train', CONFIG, '--work-dir'), ('--work-dir',)),
    'override without "="': (
        ('train', CONFIG, '--cfg-options', 'train_cfg.max_epochs'),
        ('train_cfg.max_epochs', 'KEY=VALUE'),
    ),
    'override with an open bracket': (('train', CONFIG, '--cfg-options', 'a=[1,2'), ('a', 'close every bracket')),
    'override through a number': (
        ('train', CONFIG, '--cfg-options', 'train_cfg.max_epochs.x=1'),
        ('train_cfg.max_epochs.x',),
    ),
    'misspelt key': (('train', CONFIG, '--cfg-options', 'optim_wraper.type=x'), ("'optim_wraper'", "'optim_wrapper'")),
    'unknown launcher': (('train', CONFIG, '--launcher', 'torch'), ("'torch'", 'pytorch')),
    'launcher outside Slurm': (('train', CONFIG, '--launcher', 'slurm'), ('--launcher slurm', 'SLURM_PROCID', 'srun')),
    'launcher without torchrun': (
        ('train', CONFIG, '--launcher', 'pytorch'),
        ('--launcher pytorch', 'WORLD_SIZE', 'torchrun'),
    ),
    'launcher without MPI': (
        ('test', CONFIG, CHECKPOINT, '--launcher', 'mpi'),
        ('--launcher mpi', 'OMPI_COMM_WORLD_RANK', 'mpirun'),
    ),
    'rank of a wrong type': (('train', CONFIG, '--local-rank', 'first'), ("'first'", '--local')),
    'scaling without a batch size': (('train', CONFIG, '--auto-scale-lr'), ('--auto-scale-lr', 'base_batch_size')),
    'second config': (('train', CONFIG, CONFIG), ('is not expected',)),
    'test without a checkpoint': (('test', CONFIG), ('CHECKPOINT',)),
    'output that is no pickle': (('test', CONFIG, CHECKPOINT, '--out', 'ROOT/out.json'), ('ROOT/out.json', '.pkl')),
    'augmentation without a pipeline': (('test', CONFIG, CHECKPOINT, '--tta'), ('--tta', 'tta_model')),
    'drawing without a hook': (('test', CONFIG, CHECKPOINT, '--show-dir', 'ROOT/x'), ('--show-dir', "'visualization'")),
    'unknown split': (('test', CONFIG, CHECKPOINT, '--split', 'dev'), ("'dev'", 'val')),
    'unknown metric': (
        ('test', CONFIG, CHECKPOINT, '--add-metrics', 'mmrazor.Calibratio'),
        ('Calibratio', 'Calibration'),
    ),
    'unknown corruption': (('test', CONFIG, CHECKPOINT, '--corruptions', 'fogg'), ("'fogg'", "'fog'")),
    'severity of a wrong type': (('test', CONFIG, CHECKPOINT, '--corruptions', 'fog:high'), ('fog:high',)),
    'export of a missing checkpoint': (('export', 'ROOT/nothing.pth', 'ROOT/out.pth'), ('ROOT/nothing.pth',)),
    'export of a text': (('export', 'ROOT/text.pth', 'ROOT/exported.pth'), ('ROOT/text.pth', 'not a checkpoint')),
    'export of a plain model': (('export', CHECKPOINT, 'ROOT/exported.pth'), ('teacher.pth',)),
    'taps of a missing config': (('taps', 'ROOT/nothing.py'), ('ROOT/nothing.py', 'does not exist')),
    'taps with a wrong depth': (('taps', CONFIG, '--depth', 'deep'), ("'deep'", '--depth')),
    'expansion of a missing config': (('config', 'ROOT/nothing.py'), ('ROOT/nothing.py', 'does not exist')),
    'gradients of a plain model': (('gradients', DEMO), ('distill',)),
    'comparison of a missing file': (('compare', 'ROOT/nothing.yml', '--out', 'ROOT/new'), ('ROOT/nothing.yml',)),
    'comparison of a broken file': (('compare', 'ROOT/broken.yml', '--out', 'ROOT/new'), ('ROOT/broken.yml',)),
    'comparison with an unknown key': (('compare', 'ROOT/unknown.yml', '--out', 'ROOT/new'), ("'varians'",)),
    'script that does not exist': (('run', 'ROOT/nothing.py'), ('ROOT/nothing.py', 'does not exist')),
    'unknown stack': (('env', '--stack', 'mmlab'), ('mmlab',)),
    'distillation without configs': (('distill',), ('STUDENT',)),
    'distillation without a checkpoint': (
        ('distill', DEMO, 'lckd_mm::demo/resnet_w16_digits.py', 'ROOT/nothing.pth'),
        ('ROOT/nothing.pth',),
    ),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('commands')
    write_workspace(root)
    write_case(root, {}).rename(root / 'valid.py')
    (root / 'syntax.py').write_text('model = dict(\n')
    (root / 'broken.yml').write_text('variants: [')
    (root / 'unknown.yml').write_text('varians: {}\n')
    (root / 'out.pth').write_text('must not be overwritten')
    return root


@pytest.mark.parametrize('name', CASES)
def test_wrong_command_ends_with_one_sentence(
    name: str, root: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    arguments, words = CASES[name]
    check_refusal(arguments, words, root, capsys)


def test_clone_without_set_up_names_the_set_up_and_the_path(
    root: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_file, '_LINKS', root / '.mim')
    words = ('is not set up', 'bash tools/setup_env.sh', "'configs/demo/resnet_w4_digits.py'")
    check_refusal(['train', DEMO], words, root, capsys)


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (
            torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has'),
            ('GPU', '2.50 GiB', 'batch_size'),
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
            ('machine', 'batch_size'),
        ),
        (MemoryError(), ('machine', 'batch_size')),
    ],
)
def test_exhausted_memory_ends_with_what_to_reduce(error: Exception, words: tuple[str, ...], root: Path) -> None:
    sentence = entry.system_error_sentence(error)
    assert sentence is not None
    assert all(word in sentence for word in words)


def test_errors_of_the_code_keep_their_traceback(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise AttributeError("'NoneType' object has no attribute 'shape'")

    monkeypatch.setattr('mmpretrain.models.ImageClassifier.loss', fail)
    with pytest.raises(AttributeError, match='shape'):
        dispatch.main(training(write_case(root, {}), root))


def test_program_without_its_dependencies_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def check_dependencies() -> None:
        raise ImportError('lckd_mm cannot be imported: mmcv is not installed: pip install mmcv')

    monkeypatch.setattr(dependencies, 'check_dependencies', check_dependencies)
    monkeypatch.setattr(sys, 'argv', [str(ROOT / 'tools' / 'train.py')])
    with pytest.raises(SystemExit) as end:
        importlib.reload(lckd_mm)
    assert end.value.code == 2
    assert capsys.readouterr().err == 'lckd_mm cannot be imported: mmcv is not installed: pip install mmcv\n'
    monkeypatch.setattr(sys, 'argv', ['mine.py'])
    with pytest.raises(ImportError, match='mmcv is not installed'):
        importlib.reload(lckd_mm)


def test_the_processes_of_one_training_report_a_sentence_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, expected in enumerate((True, False)):
        (tmp_path / str(rank)).mkdir()
        monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / str(rank) / 'error.json'))
        assert entry.is_first_report('depth=17 is unknown.') == expected
    assert entry.is_first_report('another sentence.')
