"""The options of `test` and `train`, and the launchers of two processes, from a folder with spaces, quotes, a command and Unicode."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch

from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import classifier, distillation_config
from tests.helpers.tiny_configs import write_config, write_images
from tests.helpers.tools import free_port, run_tool

pytestmark = pytest.mark.training

EVALUATION = """
test_dataloader = dict(train_dataloader, batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = test_dataloader
val_cfg = test_cfg = dict()
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
default_hooks.update(visualization=dict(type='VisualizationHook'))
tta_model = dict(type='AverageClsScoreTTA')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)], [dict(type='PackInputs')]]),
]
auto_scale_lr = dict(base_batch_size=64)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('launchers') / 'a "b" $(touch pwned) \'ü'
    folder.mkdir()
    write_images(folder)
    for name, model in (('plain', classifier()), ('distillation', distillation_config())):
        with write_config(folder, model, f'{name}.py').open('a') as file:
            file.write(EVALUATION)
    torch.manual_seed(0)
    torch.save(dict(state_dict=build_model(classifier()).state_dict()), folder / 'plain.pth')
    return folder


def accuracy(output: str) -> str:
    return re.findall(r'accuracy/top1: (\S+)', output)[-1]


def check_names(folder: Path) -> None:
    assert not list(folder.parent.rglob('pwned'))
    assert not Path('pwned').exists()


def predictions(path: Path) -> torch.Tensor:
    return torch.stack([sample['pred_score'] for sample in pickle.loads(path.read_bytes())])


def test_two_processes_evaluate_as_one_and_write_predictions_and_images(folder: Path) -> None:
    one = ('tools/test.py', folder / 'plain.py', folder / 'plain.pth', '--work-dir', folder / 'one')
    done = run_tool(*one, '--out', folder / "o'ne.pkl", '--show-dir', folder / 'dr "awn')
    two = ('bash', 'tools/dist_test.sh', folder / 'plain.py', folder / 'plain.pth', '2', '--work-dir', folder / 'two')
    both = run_tool(*two, '--out', folder / 'two.pkl', PORT=str(free_port()), CUDA_VISIBLE_DEVICES='')
    assert accuracy(both.stdout + both.stderr) == accuracy(done.stdout + done.stderr)
    torch.testing.assert_close(predictions(folder / 'two.pkl'), predictions(folder / "o'ne.pkl"))
    # mmpretrain draws every interval-th image; the first is among them.
    images = list((folder / 'dr "awn').rglob('*.png'))
    assert images
    assert all(cv2.imread(str(image)) is not None for image in images)
    check_names(folder)


def test_augmentation_averages_the_predictions_of_flipped_images(folder: Path) -> None:
    plain = (folder / 'plain.py', folder / 'plain.pth', '--work-dir', folder / 'tta')
    run_tool('tools/test.py', *plain, '--tta', '--out', folder / 'tta.pkl')
    model = build_model(classifier()).eval()
    model.load_state_dict(torch.load(folder / 'plain.pth', weights_only=True)['state_dict'])
    paths = sorted((folder / 'train').rglob('*.png'), key=lambda path: (path.parent.name, path.name))
    images = torch.stack([torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1).float() for path in paths])
    with torch.no_grad():
        expected = sum(model.head(model.extract_feat(view)).softmax(1) for view in (images, images.flip(3))) / 2
    torch.testing.assert_close(predictions(folder / 'tta.pkl'), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_learning_rate_is_scaled_with_the_batch_of_all_processes(folder: Path, processes: int) -> None:
    work_dir = folder / f"scaled '{processes}"
    arguments = ('--work-dir', work_dir, '--auto-scale-lr')
    options = (f'model.teacher_ckpt={folder}/plain.pth',)
    command: Callable[[], tuple] = {
        1: lambda: ('tools/train.py', folder / 'distillation.py'),
        2: lambda: ('bash', 'tools/dist_train.sh', folder / 'distillation.py', '2'),
    }[processes]
    run_tool(*command(), *arguments, options=options, PORT=str(free_port()), CUDA_VISIBLE_DEVICES='')
    state = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    # Batches of 4 images per process, a rate of 0.01 for 64.
    assert state['optimizer']['param_groups'][0]['lr'] == pytest.approx(0.01 * 4 * processes / 64)
    check_names(folder)
