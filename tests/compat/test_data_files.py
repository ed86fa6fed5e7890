"""Data files that contain code: pickle, NumPy and YAML files of data sets."""

import collections
import datetime
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm.pickles import UnsafePickleError, load_array, loads_pickle
from tests.helpers.checkpoints import RunsCode

DATA = {
    'containers': dict(a=[1, 2.5, True, None, 1j], b=({3}, b'\x00\xff', bytearray(b'x')), c=slice(1, 2)),
    'numbers': np.arange(6).reshape(2, 3),
    'transposed': np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    'empty': np.zeros((0, 4)),
    'text': np.array(['a', 'bc']),
    'times': np.array(['2020-02-03', 'NaT'], 'M8[D]'),
    'durations': np.array([3], 'm8[3us]'),
    'objects': np.array([1, 'a', None, np.ones(2)], object),
    'scalar': np.float32(0.1),
    'tensor': torch.arange(12.0).reshape(3, 4)[1:, ::2],
    'parameter': torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
    'dtype': torch.float16,
    'ordered': collections.OrderedDict(a=np.ones(1)),
    'path': Path('/data/my set'),
    'date': datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
}


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('name', DATA)
def test_data_are_read_as_pickle_reads_them(name: str, protocol: int) -> None:
    content = pickle.dumps(DATA[name], protocol)
    expected, read = pickle.loads(content), loads_pickle(content)
    assert type(read) is type(expected)
    assert repr(read) == repr(expected)


CALLS: dict[str, Callable[[Path], Any]] = {
    'os.system': lambda marker: RunsCode(os.system, f'touch {marker}'),
    'eval': lambda marker: RunsCode(eval, f'open({str(marker)!r}, "w")'),
    'method': lambda marker: RunsCode(Path.touch, marker),
    'torch.load': lambda marker: RunsCode(torch.load, str(marker)),
    'numpy.load': lambda marker: RunsCode(np.load, str(marker)),
    'import': lambda marker: RunsCode(__import__, 'antigravity'),
}


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('name', CALLS)
def test_calls_are_refused(name: str, protocol: int, tmp_path: Path) -> None:
    with pytest.raises(UnsafePickleError, match='nothing in it was executed'):
        loads_pickle(pickle.dumps([CALLS[name](tmp_path / 'marker')], protocol))
    assert not (tmp_path / 'marker').exists()


class _ArrayWithState:
    """Is pickled as numpy pickles an array, with another state."""

    def __init__(self, shape: tuple, data: Any) -> None:
        self.state = (1, shape, np.dtype('O'), False, data)

    def __reduce__(self) -> tuple:
        return np.empty(0).__reduce__()[0], (np.ndarray, (0,), b'b'), self.state


@pytest.mark.parametrize('protocol', range(2, 6))
def test_array_of_fewer_objects_than_its_shape_is_refused(protocol: int) -> None:
    """numpy would read beyond the list."""
    with pytest.raises(UnsafePickleError, match=r'an array of the shape \(3,\) with 1 objects'):
        loads_pickle(pickle.dumps(_ArrayWithState((3,), ['a']), protocol))
    assert loads_pickle(pickle.dumps(_ArrayWithState((1,), ['a']), protocol)).tolist() == ['a']


def test_array_that_is_changed_after_it_was_read_is_refused() -> None:
    """numpy would free memory that another array may share."""
    array = np.arange(3)
    content = pickle.dumps(array, 2)
    second = pickle.dumps(array.__reduce__()[2], 2)[2:-1]
    assert content[-2:] == b'b.'
    with pytest.raises(UnsafePickleError, match='a second state of an array'):
        loads_pickle(content[:-1] + second + b'b.')


def test_array_in_the_memory_of_another_one_is_refused() -> None:
    class Shared:
        def __reduce__(self) -> tuple:
            return np.arange(3).__reduce_ex__(5)[0], (np.arange(3), np.dtype(int), (3,), 'C')

    with pytest.raises(UnsafePickleError, match='an array in the memory of a _DataArray'):
        loads_pickle(pickle.dumps(Shared(), 2))


@pytest.mark.parametrize(
    'name',
    [
        *('collections Counter', 'pathlib Path', 'datetime date', 'numpy ndarray', 'numpy dtype', '_codecs encode'),
        *('numpy._core.multiarray _reconstruct', 'torch._utils _rebuild_tensor_v2', 'builtins dict'),
        'mmengine.structures.instance_data InstanceData',
    ],
)
def test_classes_and_functions_are_not_changed(name: str) -> None:
    module, attribute = name.split()
    state = pickle.dumps((None, {'most_common': 1}), 2)[2:-1]
    content = f'c{module}\n{attribute}\n'.encode() + state + b'b.'
    with pytest.raises((UnsafePickleError, TypeError, AttributeError)):
        loads_pickle(content)
    assert callable(collections.Counter.most_common)


def test_proposals_of_mmdet_are_read_as_dicts() -> None:
    from mmengine.structures import InstanceData

    boxes = torch.rand(2, 4)
    content = pickle.dumps({'a.jpg': InstanceData(bboxes=boxes, scores=np.ones(2, np.float32))})
    read = loads_pickle(content)['a.jpg']
    assert type(read) is dict
    assert torch.equal(read['bboxes'], boxes)
    assert type(read['scores']) is np.ndarray
    assert set(read) == {'bboxes', 'scores'}


@pytest.fixture
def code(tmp_path: Path) -> RunsCode:
    return RunsCode(os.system, f'touch {tmp_path / "marker"}')


def _read_ann_file(path: Path) -> None:
    from mmengine.dataset import BaseDataset

    BaseDataset(ann_file=str(path))


def _read_fix_subnet(path: Path) -> None:
    from mmrazor.structures import load_fix_subnet

    load_fix_subnet(torch.nn.Linear(1, 1), str(path))


def _read_biomedical(path: Path) -> None:
    from mmseg.datasets.transforms import LoadBiomedicalData

    LoadBiomedicalData(decode_backend='pickle')(dict(img_path=str(path)))


def _read_cifar(path: Path) -> None:
    from mmpretrain.datasets import CIFAR100

    class WithoutChecksums(CIFAR100):
        base_folder = ''
        train_list = test_list = ((path.name, None),)
        meta = dict(filename=path.name, key='fine_label_names')

    WithoutChecksums(data_root=str(path.parent), download=False)


def _read_hierarchy(path: Path) -> None:
    from mmdet.datasets.openimages import OpenImagesChallengeDataset

    dataset = OpenImagesChallengeDataset.__new__(OpenImagesChallengeDataset)
    dataset.backend_args = None
    dataset._get_relation_matrix(str(path))


READERS = {
    'mmengine.load': (lambda path: mmengine.load(str(path)), 'pkl'),
    'mmengine.load with a format': (lambda path: mmengine.load(str(path), file_format='pkl'), 'p'),
    'mmengine.load of a path': (lambda path: mmengine.load(path), 'pickle'),
    'ann_file': (_read_ann_file, 'pkl'),
    'fix_subnet': (_read_fix_subnet, 'pkl'),
    'biomedical image': (_read_biomedical, 'pkl'),
    'CIFAR': (_read_cifar, 'pkl'),
}
# These read the file before mmengine, or through a handle, and do not know its name.
UNNAMED = ('biomedical image', 'CIFAR')


@pytest.mark.parametrize('name', READERS)
def test_readers_of_pickle_files_execute_nothing(name: str, code: RunsCode, tmp_path: Path) -> None:
    read, suffix = READERS[name]
    path = tmp_path / f'évil "file".{suffix}'
    path.write_bytes(pickle.dumps(dict(data_list=[code], metainfo={}, data=np.zeros((1, 3072), np.uint8))))
    with pytest.raises(UnsafePickleError) as caught:
        read(path)
    assert name in UNNAMED or str(path) in str(caught.value)
    assert not (tmp_path / 'marker').exists()


@pytest.mark.parametrize('suffix', ['yml', 'yaml'])
def test_yaml_files_execute_nothing(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f'evil.{suffix}'
    path.write_text(f"!!python/object/apply:os.system ['touch {tmp_path / 'marker'}']")
    with pytest.raises(Exception, match='could not determine a constructor'):
        mmengine.load(str(path))
    assert not (tmp_path / 'marker').exists()
    mmengine.dump(dict(size=(1, 2), name='ü'), str(path))
    assert mmengine.load(str(path)) == dict(size=(1, 2), name='ü')


def test_hierarchy_file_of_open_images_executes_nothing(code: RunsCode, tmp_path: Path) -> None:
    path = tmp_path / 'class_label_tree.np'
    with path.open('wb') as file:
        np.save(file, np.array([code], object), allow_pickle=True)
    with pytest.raises(UnsafePickleError, match='class_label_tree'):
        _read_hierarchy(path)
    assert not (tmp_path / 'marker').exists()


@pytest.mark.parametrize('array', [np.arange(6.0).reshape(2, 3), np.array([[1, 'a'], [None, 2]], object)])
def test_arrays_are_read_with_and_without_objects(array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    file.seek(0)
    np.testing.assert_array_equal(load_array(file), array)


def test_archives_of_arrays_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / 'arrays.npz', a=np.ones(2), b=np.zeros(1))
    assert {name: array.tolist() for name, array in load_array(tmp_path / 'arrays.npz').items()} == dict(
        a=[1, 1], b=[0]
    )


def test_files_of_python_2_are_read() -> None:
    """The bytes that Python 2 writes for ``{'data': numpy.array([[1, 255]], 'uint8'), 'fine_labels': [3]}``, as CIFAR's files."""
    content = (
        b'\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05'
        b'(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
        b'\x89U\x02\x01\xfftbU\x0bfine_labelsq\x08]q\tK\x03au.'
    )
    read = loads_pickle(content, encoding='latin1')
    assert read['data'].tolist() == pickle.loads(content, encoding='latin1')['data'].tolist() == [[1, 255]]
    assert type(read['data']) is np.ndarray
    assert read['fine_labels'] == [3]
