import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from torch.utils.data import DataLoader

from lckd_mm.engine.hooks.sample_error_hook import SampleErrorHook
from lckd_mm.engine.sample_errors import SampleError, name_unreadable_samples
from lckd_mm.errors import ConfigValueError

from ..scripts.toy_training import make_runner


class Photographs(BaseDataset):
    def load_data_list(self) -> list[dict]:
        return [dict(img_path='a.jpg'), dict(img_path='b.jpg', seg_map_path='b.png'), dict()]


def broken(results: dict) -> None:
    raise OSError('!buf.empty()\n in imdecode\n')


def test_a_sample_that_cannot_be_prepared_is_named() -> None:
    dataset = Photographs(pipeline=[broken])
    name_unreadable_samples(dataset)
    expected = r"sample 0 of the data set, 'a.jpg', .*OSError: !buf.empty\(\) in imdecode\)"
    with pytest.raises(RuntimeError, match=expected):
        dataset[0]
    with pytest.raises(
        SampleError, match=r"'b.jpg' with the mask 'b.png', cannot be prepared .*: replace the file, or"
    ):
        dataset[1]
    with pytest.raises(SampleError, match='which has no file name'):
        dataset[2]


def test_other_data_sets_of_the_process_are_not_modified() -> None:
    name_unreadable_samples(Photographs(pipeline=[broken]))
    with pytest.raises(OSError, match=r'buf\.empty'):
        Photographs(pipeline=[broken])[0]


def test_errors_are_named_once_and_a_data_set_without_errors_is_read_as_before() -> None:
    dataset = Photographs(pipeline=[broken])
    for _ in range(2):
        name_unreadable_samples(dataset)
    with pytest.raises(SampleError, match=r'^sample 0 of the data set') as error:
        dataset[0]
    assert str(error.value).count('sample 0') == 1
    plain = Photographs(pipeline=[])
    name_unreadable_samples(plain)
    assert plain[0]['img_path'] == 'a.jpg'


def test_configuration_errors_of_a_transform_are_passed_on() -> None:
    def misconfigured(results: dict) -> None:
        raise ConfigValueError('scale is wrong')

    dataset = Photographs(pipeline=[misconfigured])
    name_unreadable_samples(dataset)
    with pytest.raises(ConfigValueError, match=r'^scale is wrong$'):
        dataset[0]


def test_an_error_before_the_file_names_are_known_is_named_by_its_index() -> None:
    class WithoutInfo(Photographs):
        def get_data_info(self, idx: int) -> dict:
            raise OSError('no annotations')

    dataset = WithoutInfo(pipeline=[])
    name_unreadable_samples(dataset)
    with pytest.raises(SampleError, match=r'sample 1 of the data set.*no annotations'):
        dataset[1]


@pytest.mark.parametrize('wrapper', [lambda x: RepeatDataset(x, 2), lambda x: ConcatDataset([x])])
def test_data_sets_in_wrappers_are_named(wrapper: Any) -> None:
    dataset = wrapper(Photographs(pipeline=[broken]))
    name_unreadable_samples(dataset)
    with pytest.raises(SampleError, match=r"'a.jpg'"):
        dataset[0]


def test_other_classes_of_data_sets_are_not_modified() -> None:
    dataset = torch.utils.data.TensorDataset(torch.zeros(2))
    before = dict(vars(dataset))
    name_unreadable_samples(dataset)
    assert vars(dataset) == before


def test_worker_processes_report_the_sentence_without_their_traceback() -> None:
    dataset = Photographs(pipeline=[broken])
    name_unreadable_samples(dataset)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context='fork')
    with pytest.raises(SampleError, match=r"^sample 0 of the data set, 'a.jpg'") as error:
        next(iter(loader))
    assert 'Traceback' not in str(error.value)


def test_a_pickled_data_set_names_its_samples() -> None:
    """Worker processes that are spawned receive it so."""
    dataset = Photographs(pipeline=[broken])
    name_unreadable_samples(dataset)
    received = pickle.loads(pickle.dumps(dataset))
    assert received.prepare_data.dataset is received
    with pytest.raises(SampleError, match=r"'a.jpg'"):
        received[0]


@pytest.mark.parametrize('loop', ['train', 'val', 'test'])
def test_the_hook_modifies_the_data_set_of_the_loop(loop: str, tmp_path: Path) -> None:
    dataset = Photographs(pipeline=[broken])
    loops = {f'{loop}_loop': SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))}
    runner = SimpleNamespace(log_dir=str(tmp_path), **loops)
    getattr(SampleErrorHook(), f'before_{loop}')(runner)
    with pytest.raises(SampleError, match=r"'a.jpg'"):
        dataset[0]


@pytest.mark.parametrize('loop', [dict(by_epoch=True, max_epochs=2), dict(by_epoch=False, max_iters=2)])
@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_training_with_the_hook_stops_with_the_sentence(num_workers: int, loop: dict, tmp_path: Path) -> None:
    loader = dict(
        dataset=RepeatDataset(Photographs(pipeline=[broken]), 2),
        batch_size=1,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    hooks = [dict(type='mmrazor.SampleErrorHook')]
    runner = make_runner(tmp_path, train_dataloader=loader, train_cfg=loop, custom_hooks=hooks)
    with pytest.raises(SampleError, match=r"^sample 0 of the data set, 'a.jpg'"):
        runner.train()
