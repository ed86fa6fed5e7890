"""Each mend: what fails without it, and that it does not fail with it."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader, checkpoint, load_checkpoint, save_checkpoint

import lckd_mm
from lckd_mm import compat

from .scripts import toy_training

ROOT = Path(lckd_mm.__file__).parents[1]
TOY = Path(toy_training.__file__)
needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='shows what happens on a machine without a GPU')
ALONE = f"""
import sys
sys.path.insert(0, {str(TOY.parent)!r})
import importlib.util
spec = importlib.util.spec_from_file_location('compat', {str(Path(compat.__file__))!r})
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
"""


def run(*command, **env) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env={**os.environ, **env}, timeout=300
    )


# Imports


def test_torchvision_without_its_operators_imports_only_with_the_mend():
    done = run(
        '-c',
        ALONE
        + """
try:
    import torchvision
    print('not needed')
except RuntimeError as error:
    print(error)
compat.mend_torchvision_without_ops()
compat.mend_torchvision_without_ops()
import torchvision.models
print('imported')
""",
    )
    if 'not needed' in done.stdout:
        pytest.skip('the compiled operators of this torchvision fit this torch')
    assert 'operator torchvision::nms does not exist' in done.stdout
    assert 'imported' in done.stdout, done.stderr


@pytest.mark.slow
def test_mmrazor_imports_only_with_the_mend():
    done = run('-c', ALONE + 'compat.mend_torchvision_without_ops()\nimport mmrazor.models')
    assert done.returncode != 0
    assert 'mmrazor' in done.stderr
    assert 'ImportError' in done.stderr or 'AttributeError' in done.stderr


@pytest.mark.slow
def test_only_mmrazor_is_imported_while_torch_is_presented_as_1_12():
    done = run(
        '-c',
        ALONE
        + """
import contextlib, sys, torch
real, presented = torch.__version__, compat._torch_presented_as
@contextlib.contextmanager
def watched(version):
    before = set(sys.modules)
    with presented(version):
        yield
    print('new:', sorted({name.partition('.')[0] for name in set(sys.modules) - before}))
compat._torch_presented_as = watched
compat.mend_torchvision_without_ops()
compat.mend_mmrazor_import()
assert torch.__version__ == real
from mmrazor.utils import register_all_modules
before = set(sys.modules)
register_all_modules(False)
print('left:', [name for name in set(sys.modules) - before if name.startswith('mmrazor')])
""",
    )
    assert done.returncode == 0, done.stderr
    assert "new: ['mmrazor']" in done.stdout
    assert 'left: []' in done.stdout


def test_torch_has_its_version_back_after_an_error():
    real = torch.__version__

    def fail_under(version):
        with compat._torch_presented_as(version):
            assert torch.__version__ < (1, 13)
            raise KeyError

    with pytest.raises(KeyError):
        fail_under('1.12.0')
    assert torch.__version__ is real


def test_mmcv_without_operators_is_named_with_the_command_that_builds_them(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    with pytest.raises(ImportError, match=r'operators of mmcv .* MMCV_WITH_OPS=1 pip install'):
        compat.check_mmcv_ops()


def test_mends_may_be_applied_again():
    before = (MessageHub.load_state_dict, checkpoint.torch, torch.__version__)
    compat.apply()
    assert (MessageHub.load_state_dict, checkpoint.torch, torch.__version__) == before


def test_a_config_inherits_from_lckd_mm_by_name(tmp_path, monkeypatch):
    from mmengine.config.utils import MODULE2PACKAGE

    base = next(iter(sorted((ROOT / 'configs').glob('*/*.py'))))
    name = base.relative_to(ROOT / 'configs').as_posix()
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = 'lckd_mm::{name}'\nmark = 1\n")
    assert Config.fromfile(child).mark == 1
    monkeypatch.delitem(MODULE2PACKAGE, 'lckd_mm')
    with pytest.raises(AssertionError, match='does not support to load lckd_mm'):
        Config.fromfile(child)


# Checkpoints


class RunsCode:
    """Creates a file when it is unpickled."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.fixture(params=['zip', 'legacy'])
def write(request, tmp_path):
    """Writes a checkpoint in torch's zip format, or in that of torch before 1.6."""

    def write(data, name='checkpoint.pth'):
        torch.save(data, tmp_path / name, _use_new_zipfile_serialization=request.param == 'zip')
        return tmp_path / name

    return write


def make_history(values=(0.1, 2.0, float('nan')), max_length=1000):
    history = HistoryBuffer(max_length=max_length)
    for count, value in enumerate(values, 1):
        history.update(value, count)
    return history


def assert_same_history(one, other):
    assert type(one) is type(other) is HistoryBuffer
    assert one.max_length == other.max_length
    for a, b in zip(one.data, other.data):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('call', ['os.system', 'builtins.exec', 'builtins.eval', 'pathlib.Path.touch'])
def test_a_checkpoint_that_carries_code_is_refused_and_runs_nothing(call, write, tmp_path):
    marker = tmp_path / 'marker'
    code = {
        'os.system': RunsCode(os.system, f'touch {marker}'),
        'builtins.exec': RunsCode(exec, f'open({str(marker)!r}, "w")'),
        'builtins.eval': RunsCode(eval, f'open({str(marker)!r}, "w")'),
        'pathlib.Path.touch': RunsCode(Path.touch, marker),
    }[call]
    path = write({'state_dict': {'weight': torch.ones(1)}, 'meta': [code]})
    with pytest.raises(compat.UnsafeCheckpointError) as refusal:
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
    assert not marker.exists()
    assert str(path) in str(refusal.value)
    if call != 'pathlib.Path.touch':
        assert call.replace('os.', 'posix.') in str(refusal.value)
    # Without the safe reader, it would have run.
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_getattr_in_a_checkpoint_gets_nothing(write):
    path = write({'method': RunsCode(getattr, HistoryBuffer, 'mean')})
    assert CheckpointLoader.load_checkpoint(str(path)) == {'method': None}


@pytest.mark.parametrize('array', [np.array([1, None], dtype=object), np.zeros(2, dtype=[('a', 'f4'), ('b', 'O')])])
def test_arrays_of_objects_are_refused(array, write):
    with pytest.raises(compat.UnsafeCheckpointError, match='numpy'):
        compat.load_data(write({'array': array}))


def test_a_torchscript_archive_is_refused(tmp_path):
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / 'script.pth'))
    with pytest.raises(compat.UnsafeCheckpointError, match='TorchScript'):
        compat.load_data(tmp_path / 'script.pth')


@pytest.mark.parametrize('content', [b'', b'<html>not found</html>', b'PK\x03\x04cut off'])
def test_a_file_that_is_no_checkpoint_is_named(content, tmp_path):
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    with pytest.raises(compat.UnreadableCheckpointError, match=r'broken\.pth cannot be read as a checkpoint'):
        CheckpointLoader.load_checkpoint(str(path))


def test_a_missing_file_is_still_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'none.pth'))


def test_what_mmengine_writes_is_read_as_it_was(write):
    data = {
        'history': make_history(),
        'empty': HistoryBuffer(),
        'arrays': [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.eye(3)),
            np.array(['a', 'bc']),
            np.arange(3, dtype='>i4'),
        ],
        'scalars': (np.float32(1.5), np.int64(3), np.bool_(True)),
        'cfg': ConfigDict(a=[ConfigDict(b=1)]),
        'state_dict': torch.nn.BatchNorm2d(3).state_dict(),
    }
    path = write(data)
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(path)
    loaded = CheckpointLoader.load_checkpoint(str(path))
    assert_same_history(loaded['history'], data['history'])
    assert_same_history(loaded['empty'], data['empty'])
    assert loaded['history'].statistics('max') is not None
    for array, expected in zip(loaded['arrays'], data['arrays']):
        assert type(array) is np.ndarray
        # numpy itself turns another machine's byte order into its own.
        assert array.dtype == expected.dtype.newbyteorder('=')
        np.testing.assert_array_equal(array, expected)
    assert loaded['scalars'] == data['scalars']
    assert loaded['cfg'] == {'a': [{'b': 1}]}
    assert loaded['state_dict']._metadata == data['state_dict']._metadata


def test_methods_of_a_history_do_not_come_from_the_file(write):
    before = dict(HistoryBuffer._statistics_methods)
    CheckpointLoader.load_checkpoint(str(write({'history': make_history()})))
    assert before == HistoryBuffer._statistics_methods


def test_an_old_public_checkpoint_loads(write):
    # As OpenMMLab published them in 2020.
    model = torch.nn.Linear(2, 1)
    state = OrderedDict((name, value.clone().fill_(2)) for name, value in model.state_dict().items())
    path = write(
        {'meta': {'mmdet_version': '2.0.0', 'time': 'Sat Feb  1 2020', 'CLASSES': ('a', 'b')}, 'state_dict': state}
    )
    load_checkpoint(model, str(path))
    assert model.weight.tolist() == [[2, 2]]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves `tmp_path`; downloads go to a folder of their own."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch_home'))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'log_message', lambda *_: None)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_downloads_are_read_as_data(server, write, tmp_path, monkeypatch):
    marker = tmp_path / 'marker'
    write({'a': RunsCode(os.system, f'touch {marker}')}, 'evil.pth')
    write({'state_dict': {'backbone.w': torch.ones(1)}, 'history': make_history()}, 'good.pth')
    # What mmengine calls without the mend runs the code.
    with pytest.raises(compat.UnsafeCheckpointError):
        CheckpointLoader.load_checkpoint(f'{server}/evil.pth')
    assert not marker.exists()
    torch.hub.load_state_dict_from_url(f'{server}/evil.pth', progress=False)
    assert marker.exists()

    marker.unlink()
    for name in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(checkpoint, name, lambda: {'evil': f'{server}/evil.pth', 'good': f'{server}/good.pth'})
    for scheme in ('torchvision', 'open-mmlab', 'mmcls'):
        assert 'state_dict' in CheckpointLoader.load_checkpoint(f'{scheme}://good')
        with pytest.raises(compat.UnsafeCheckpointError):
            CheckpointLoader.load_checkpoint(f'{scheme}://evil')
    assert not marker.exists()
    assert (tmp_path / 'torch_home' / 'hub' / 'checkpoints' / 'good.pth').exists()


def test_what_is_saved_is_plain_data(tmp_path):
    state = torch.nn.BatchNorm2d(3).state_dict()
    data = {
        'state_dict': state,
        'history': make_history(),
        'meta': {'palette': np.array([[1, 2]]), 'best': np.float64(0.5), 'cfg': ConfigDict(a=1), 'path': tmp_path},
    }
    save_checkpoint(data, str(tmp_path / 'saved.pth'))
    loaded = torch.load(tmp_path / 'saved.pth', weights_only=True)
    assert loaded['meta'] == {'palette': [[1, 2]], 'best': 0.5, 'cfg': {'a': 1}, 'path': str(tmp_path)}
    assert loaded['state_dict']._metadata == state._metadata
    assert isinstance(data['history'], HistoryBuffer), 'saving must leave what is saved as it is'


@pytest.fixture(scope='module')
def plain_run(tmp_path_factory):
    """A run of plain mmengine, and its attempt to resume itself."""
    folder = tmp_path_factory.mktemp('plain')
    trained = run(TOY, 'plain', folder)
    assert trained.returncode == 0, trained.stderr
    return folder, run(TOY, 'plain', folder / 'again', '--resume', folder / 'epoch_1.pth')


def histories(runner):
    return runner.message_hub.log_scalars


@pytest.mark.slow
def test_a_run_of_plain_mmengine_is_resumed_only_with_the_mend(plain_run, tmp_path):
    folder, resumed = plain_run
    assert resumed.returncode != 0
    assert 'Unsupported global' in resumed.stderr
    runner = toy_training.make_runner(tmp_path, resume=True, load_from=str(folder / 'epoch_1.pth'))
    runner.train()
    expected = torch.load(folder / 'epoch_2.pth', weights_only=False)
    assert runner.epoch == 2
    assert torch.equal(runner.model.linear.weight, expected['state_dict']['linear.weight'])
    np.testing.assert_array_equal(
        histories(runner)['train/loss'].data[0], expected['message_hub']['log_scalars']['train/loss'].data[0]
    )


def test_a_run_saves_plain_data_and_resumes_its_histories_exactly(tmp_path):
    runner = toy_training.make_runner(tmp_path / 'run')
    runner.train()
    path = tmp_path / 'run' / 'epoch_2.pth'
    torch.load(path, weights_only=True)
    saved = histories(runner)
    resumed = toy_training.make_runner(tmp_path / 'resumed', resume=True, load_from=str(path))
    resumed.load_or_resume()
    assert resumed.epoch == 2
    assert {'train/loss', 'train/lr'} <= set(histories(resumed))
    for name, history in histories(resumed).items():
        assert_same_history(history, saved[name])

    # Without the mend, mmengine leaves them out.
    plain = MessageHub('plain')
    MessageHub.load_state_dict.__wrapped__(plain, torch.load(path, weights_only=True)['message_hub'])
    assert not plain.log_scalars


# Distributed training


@needs_cpu
@pytest.mark.slow
def test_two_processes_train_on_the_cpu_only_with_the_mend(tmp_path):
    launch = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', TOY)
    plain = run(*launch, 'plain', tmp_path / 'plain', '--launcher', 'pytorch', OMP_NUM_THREADS='1')
    assert plain.returncode != 0
    assert 'set_device' in plain.stderr
    mended = run(*launch, 'mended', tmp_path / 'mended', '--launcher', 'pytorch', OMP_NUM_THREADS='1')
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.count('trained to epoch 2 in 2') == 2


@pytest.mark.parametrize('pool_mode', ['avg', 'max'])
@pytest.mark.parametrize('half_the_channels', [False, True])
def test_operators_of_mmcv_read_maps_in_any_layout(pool_mode, half_the_channels):
    from mmcv.ops import RoIAlign

    feature = torch.randn(2, 8, 20, 30, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 3, 4, 60, 70], [1, 10, 10, 100, 60]])
    layouts = (torch.contiguous_format, torch.channels_last)
    maps = [feature.to(memory_format=layout, copy=True).requires_grad_() for layout in layouts]
    # A slice has no layout of its own.
    taken = [one[:, ::2] if half_the_channels else one for one in maps]
    taken[0] = taken[0].contiguous()
    first, second = (RoIAlign(7, 0.25, 0, pool_mode)(one, boxes) for one in taken)
    torch.testing.assert_close(second, first)
    first.square().sum().backward()
    # With a gradient in the other layout as well.
    second.backward((2 * second.detach()).to(memory_format=torch.channels_last))
    torch.testing.assert_close(maps[1].grad, maps[0].grad)


def test_a_sample_that_cannot_be_prepared_is_named():
    from mmengine.dataset import BaseDataset

    class Photographs(BaseDataset):
        def load_data_list(self):
            return [dict(img_path='a.jpg'), dict(img_path='b.jpg', seg_map_path='b.png'), dict()]

    def broken(results):
        raise OSError('!buf.empty()\n in imdecode\n')

    dataset = Photographs(pipeline=[broken])
    with pytest.raises(
        RuntimeError, match=r"sample 0 of the data set, 'a.jpg', .*OSError: !buf.empty\(\) in imdecode\)"
    ):
        dataset[0]
    with pytest.raises(
        RuntimeError, match=r"'b.jpg' with the mask 'b.png', cannot be prepared .*: replace the file, or"
    ):
        dataset[1]
    with pytest.raises(RuntimeError, match='which names no file'):
        dataset[2]


# Mixed precision


@needs_cpu
@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=0.1)])
def test_mixed_precision_trains_on_the_cpu_in_bfloat16(clip_grad):
    from mmengine.optim import AmpOptimWrapper

    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 2)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=1.0), clip_grad=clip_grad)
    x, before = torch.randn(8, 4), layer.weight.detach().clone()
    with wrapper.optim_context(layer):
        out = layer(x)
        assert out.dtype == torch.bfloat16
    loss = out.float().square().mean()
    (wanted,) = torch.autograd.grad(layer(x).square().mean(), layer.weight)
    wrapper.update_params(loss)
    if clip_grad is None:
        # Of unscaled losses, to bfloat16's precision.
        torch.testing.assert_close(before - layer.weight, wanted, rtol=0.05, atol=0.02)
    else:
        assert (before - layer.weight).norm() < 0.1001
    wrapper.load_state_dict(wrapper.state_dict())


@needs_cpu
def test_operators_of_mmcv_take_bfloat16_on_the_cpu():
    from mmcv.ops import RoIAlign, nms

    feature = torch.randn(2, 8, 20, 30, generator=torch.Generator().manual_seed(0)).bfloat16()
    boxes = torch.tensor([[0.0, 3, 4, 60, 70], [1, 10, 10, 100, 60]]).bfloat16()
    half, full = feature.clone().requires_grad_(), feature.float().requires_grad_()
    align = RoIAlign(7, 0.25, 0)
    first, second = align(half, boxes), align(full, boxes.float())
    assert first.dtype == torch.bfloat16
    torch.testing.assert_close(first.float(), second, rtol=0.01, atol=0.01)
    first.float().square().sum().backward()
    second.square().sum().backward()
    torch.testing.assert_close(half.grad.float(), full.grad, rtol=0.05, atol=0.05)
    _, kept = nms(boxes[:, 1:].contiguous(), torch.tensor([0.5, 0.6]).bfloat16(), 0.9)
    assert kept.tolist() == [1, 0]
