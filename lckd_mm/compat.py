"""The one place that knows what the OpenMMLab stack needs on the PyTorch that people run today.

Each mend says why it is there and until when, acts only where it is needed, and may be called again. `apply` calls
them in the order they depend on each other.

Checkpoints are data, never code: once the mends are applied, everything that mmengine reads as a checkpoint goes
through `load_data`, and everything it writes as one through `save_data`.
"""

import atexit
import contextlib
import functools
import importlib
import os
import re
import sys
import types
import warnings
from collections import Counter, OrderedDict
from importlib import metadata
from typing import Any, Callable, Dict, Iterator, List, Tuple
from urllib.parse import urlparse

import torch

__all__ = [
    'CheckpointError',
    'UnreadableCheckpointError',
    'UnsafeCheckpointError',
    'apply',
    'load_data',
    'save_data',
]


def apply() -> None:
    """Applies every mend; lckd_mm does so when it is imported."""
    mend_torchvision_without_ops()
    check_mmcv_ops()
    mend_inputs_of_mmcv_ops()
    mend_config_inheritance()
    mend_checkpoints()
    mend_resumed_histories()
    name_unreadable_samples()
    mend_distributed_without_gpu()
    mend_amp_without_gpu()
    mend_mmrazor_import()
    mend_ssd_head()


# ---------------------------------------------------------------------------------------------------------------------
# Imports
# ---------------------------------------------------------------------------------------------------------------------


def mend_torchvision_without_ops() -> None:
    """Lets torchvision be imported where its compiled operators do not fit torch.

    torchvision describes the shapes of its operators `nms` and `qnms` at import, and fails ("operator torchvision::nms
    does not exist") where they could not be loaded: PyPI's torchvision is built for CUDA, and does not load beside a
    CPU-only torch. No OpenMMLab package uses them for what this project does, so naming them is enough. Needed for as
    long as torchvision does that (0.28 does).
    """
    try:
        import torchvision
    except RuntimeError as error:
        if 'operator torchvision::' not in str(error):
            raise
    else:
        return
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]
    mend_torchvision_without_ops.library = library = torch.library.Library('torchvision', 'DEF')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    import torchvision  # noqa: F401


def check_mmcv_ops() -> None:
    """Says what to do where mmcv was built without its operators, or for another torch.

    Raises:
        ImportError: mmcv's compiled operators cannot be loaded.
    """
    try:
        importlib.import_module('mmcv._ext')
    except ImportError as error:
        raise ImportError(
            f'lckd_mm cannot be imported: the compiled operators of mmcv {metadata.version("mmcv")} do not load with '
            f'torch {torch.__version__} ({error}); build them for it: '
            'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --no-cache-dir --force-reinstall mmcv==2.1.0'
        ) from error


def mend_inputs_of_mmcv_ops() -> None:
    """Hands mmcv's operators maps in the layout and the precision they read, and takes back what they write.

    They read and write memory as (B, C, H, W) whatever the strides of a tensor say, so that RoIAlign of a channels_last map gives
    other numbers and no error; and on a CPU they have no code for bfloat16, which autocast makes there. Needed until mmcv's
    operators look at the strides, and know bfloat16.
    """
    _ext = importlib.import_module('mmcv._ext')
    for name, function in list(vars(_ext).items()):
        if callable(function) and not name.startswith('_') and not getattr(function, 'is_mended', False):
            setattr(_ext, name, _on_readable_inputs(function))


def _on_readable_inputs(function: Callable) -> Callable:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        pairs = []

        def readable(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            used = value.float() if value.dtype == torch.bfloat16 and value.device.type == 'cpu' else value
            used = used.contiguous() if used.dim() >= 4 else used
            if used is not value:
                pairs.append((value, used))
            return used

        args = tuple(readable(value) for value in args)
        result = function(*args, **{key: readable(value) for key, value in kwargs.items()})
        for given, used in pairs:
            # What is expanded is no output. An input gets the numbers that it had, which autograd must not take for a change.
            if 0 not in given.stride():
                given.data.copy_(used)
        return result

    call.is_mended = True
    return call


@contextlib.contextmanager
def _torch_presented_as(version: str) -> Iterator[None]:
    """Within the context `torch.__version__` reads `version`."""
    real = torch.__version__
    torch.__version__ = type(real)(version)
    try:
        yield
    finally:
        torch.__version__ = real


def mend_mmrazor_import() -> None:
    """Imports mmrazor, all of it that registers something, on torch 2.

    mmrazor 1.0.0 (open-mmlab/mmrazor issue 632) asks torch from 1.13 on for quantization names that torch 2 dropped;
    on an older torch it puts placeholders in their place. So torch is presented as 1.12 while mmrazor is imported,
    and only then: what else looks at torch's version is imported before. Its distillation half does not care.
    Needed until an mmrazor after 1.0.0.
    """
    if torch.__version__ < (1, 13) or metadata.version('mmrazor') > '1.0.0':
        return
    for name in (
        'mmcv.cnn',
        'mmcv.ops',
        'mmcv.transforms',
        'mmengine.hub',
        'mmengine.runner',
        'mmengine.visualization',
        *(f'{package}.{part}' for package in ('mmdet', 'mmseg', 'mmpretrain') for part in _REGISTERING),
        # What mmrazor imports beside those, which may look at torch's version as well.
        'torch.ao.quantization.quantize_fx',
        'torch.fx',
        'torch.nn.quantized._reference',
        'torch.utils.tensorboard',
    ):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    with _torch_presented_as('1.12.0'), warnings.catch_warnings():
        # Its docstrings hold escape sequences that Python 3.12 and later warn about.
        warnings.simplefilter('ignore', SyntaxWarning)
        for part in (
            'datasets',
            'engine',
            'implementations',
            'models',
            'registry',
            'structures',
            'utils',
            'visualization',
        ):
            importlib.import_module(f'mmrazor.{part}')


def mend_ssd_head() -> None:
    """Lets mmdet's SSDHead predict.

    mmdet 3.1 to 3.3 (open-mmlab/mmdetection issue 11063) ask every dense head for its `loss_cls` when they predict, and SSDHead,
    whose loss is a function, has none. Needed until an mmdet after 3.3.0.
    """
    from mmdet.models.dense_heads import SSDHead

    if not hasattr(SSDHead, 'loss_cls'):
        SSDHead.loss_cls = None


# The sub-packages by which OpenMMLab packages register their classes.
_REGISTERING = ('datasets', 'engine', 'evaluation', 'models', 'structures', 'visualization')


def mend_config_inheritance() -> None:
    """Lets configs inherit `lckd_mm::path.py`.

    mmengine knows by a fixed table which packages have configs under `.mim`, and looks for them below site-packages,
    where a package in development mode is not (setuptools >= 64). Needed until it asks the package itself.
    """
    import mmengine.config.config
    import mmengine.hub.hub
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.utils import get_installed_path as original

    # It imports pkg_resources anew for each inherited file, and setuptools warns each time that it will go; the
    # requirement `setuptools < 81` is the answer to that.
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    MODULE2PACKAGE.setdefault('lckd_mm', 'lckd_mm')
    folder = os.path.dirname(os.path.abspath(__file__))

    @functools.wraps(original)
    def get_installed_path(package: str) -> str:
        return folder if package == 'lckd_mm' else original(package)

    if not hasattr(original, '__wrapped__'):
        for module in (mmengine.utils, mmengine.utils.package_utils, mmengine.config.config, mmengine.hub.hub):
            module.get_installed_path = get_installed_path


# ---------------------------------------------------------------------------------------------------------------------
# Checkpoints
# ---------------------------------------------------------------------------------------------------------------------


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that asks for something which is not data."""


class UnreadableCheckpointError(CheckpointError):
    """A file that is not a checkpoint, or a damaged one."""


class _NotData(Exception):
    """Names what in a checkpoint is not data."""


class _Dtype:
    """Stands in for `numpy.dtype` while a checkpoint is read: plain numbers and strings only.

    numpy's own would take structures and objects, whose bytes, coming from a file, are pointers.
    """

    def __init__(self, name: str, *_: Any) -> None:
        self.dtype = _np().dtype(str(name))
        if self.dtype.kind not in 'biufcSU?mM':
            raise _NotData(f'numpy.dtype({name!r})')

    def __setstate__(self, state: Tuple) -> None:
        # (version, byte order, sub-array, names, fields, ...)
        self.dtype = self.dtype.newbyteorder(state[1])


def _numpy_scalar(dtype: _Dtype, data: bytes) -> Any:
    return _np().frombuffer(data, dtype.dtype, count=1)[0]


def _np():
    import numpy

    return numpy


@functools.lru_cache(maxsize=1)
def _table() -> Tuple[Tuple[Any, str], ...]:
    """What mmengine's checkpoints name beyond what torch takes for data, and what is given for it.

    Returns:
        Pairs of an object and the full name it is given for, for `torch.serialization.safe_globals`.
    """
    import numpy as np
    from mmengine.logging import HistoryBuffer

    class Array(np.ndarray):
        """A `numpy.ndarray` whose content is checked; it becomes a real one when the file has been read."""

        def __new__(cls):
            return super().__new__(cls, (0,), np.uint8)

        def __setstate__(self, state: Tuple) -> None:
            version, shape, dtype, is_fortran, data = state
            if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
                raise _NotData('a numpy array of Python objects')
            super().__setstate__((version, shape, dtype.dtype, is_fortran, data))

    class History(HistoryBuffer):
        """A HistoryBuffer that takes its numbers from the file and nothing else; then it is a plain one."""

        def __setstate__(self, state: Dict) -> None:
            fresh = HistoryBuffer(max_length=int(state['max_length']))
            fresh._log_history = np.array(state['_log_history'])
            fresh._count_history = np.array(state['_count_history'])
            self.__dict__.update(fresh.__dict__)
            self.__class__ = HistoryBuffer

    def start_array(*_: Any) -> Array:
        return Array()

    def no_attribute(*_: Any) -> None:
        """HistoryBuffer stores its methods, as `getattr(HistoryBuffer, 'min')`; `History` does not look at them."""

    def no_bytes() -> bytes:
        """An empty array's content is stored as `bytes()`."""
        return b''

    table = [
        (History, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (no_attribute, 'builtins.getattr'),
        (no_bytes, 'builtins.bytes'),
        (dict, 'mmengine.config.config.ConfigDict'),
        (Array, 'numpy.ndarray'),
        (_Dtype, 'numpy.dtype'),
    ]
    for multiarray in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        table += [(start_array, f'{multiarray}._reconstruct'), (_numpy_scalar, f'{multiarray}.scalar')]
    return tuple(table)


def load_data(f: Any, map_location: Any = None, **_: Any) -> Any:
    """Reads a checkpoint as data: nothing in the file is executed.

    torch's own `weights_only` reader, with a table that covers what mmengine writes (histories, numpy arrays). What
    neither knows is refused.

    Args:
        f: A path or a binary file.
        map_location: As in `torch.load`.

    Returns:
        What the file holds.

    Raises:
        UnsafeCheckpointError: The file asks for something that is not data.
        UnreadableCheckpointError: The file is damaged, or no checkpoint.
    """
    name = os.fspath(f) if isinstance(f, (str, os.PathLike)) else getattr(f, 'name', 'the checkpoint')
    try:
        with torch.serialization.safe_globals(list(_table())), warnings.catch_warnings():
            # Of a TorchScript archive, torch announces that it will be run, and then refuses it.
            warnings.filterwarnings('ignore', message='.*looks like a TorchScript archive')
            data = torch.load(f, map_location=map_location, weights_only=True)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        message = str(error)
        culprit = re.search(r'GLOBAL (\S+)', message) or re.search(r'unrecognized function (.+)', message)
        what = ''
        if isinstance(error, _NotData):
            what = f'asks for {message}'
        elif culprit is not None:
            # torch leaves 'builtins.' out.
            what = f'asks for {"" if "." in culprit.group(1) else "builtins."}{culprit.group(1)}'
        elif 'TorchScript' in message or 'legacy .tar' in message:
            what = 'is a TorchScript archive or of the .tar format of torch before 0.1.10'
        if what:
            raise UnsafeCheckpointError(
                f'{name} is refused and nothing of it was run: it {what}, but a checkpoint may hold only data '
                '(tensors, numbers, strings, lists, dicts); ask whoever wrote it for a file that holds its '
                "'state_dict' alone"
            ) from error
        # torch's message begins with advice to switch the safe reader off, which would not mend this.
        reason = re.sub(r'\s+', ' ', message.split('WeightsUnpickler error:')[-1].split('Check the documentation')[0])
        raise UnreadableCheckpointError(
            f'{name} cannot be read as a checkpoint ({type(error).__name__}: {reason.strip()}); '
            'it is damaged, cut off or no checkpoint: get it again'
        ) from error
    np = _np()
    return _convert(data, lambda value: np.array(value) if isinstance(value, np.ndarray) else value)


def save_data(obj: Any, f: Any, **kwargs: Any) -> None:
    """`torch.save` of plain data, which `torch.load(f, weights_only=True)` reads.

    Histories become dicts of tensors, numpy arrays lists, numpy scalars numbers, config dicts dicts and paths strings.
    """
    strangers: List[str] = []
    torch.save(_convert(obj, functools.partial(_plain, strangers=strangers)), f, **kwargs)
    if strangers:
        from mmengine.logging import print_log

        print_log(
            f'The checkpoint holds objects which are not plain data ({", ".join(sorted(set(strangers)))}), so that it '
            'will be refused when it is loaded: keep them out of the message hub, the meta information and the states',
            logger='current',
            level=30,
        )


_PLAIN = (str, bytes, bool, int, float, complex, type(None), torch.Tensor, torch.Size, torch.dtype, torch.device)


def _plain(value: Any, strangers: List[str]) -> Any:
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer

    np = _np()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        # Tensors keep every bit and the dtype.
        return dict(
            log_history=torch.from_numpy(np.array(log)),
            count_history=torch.from_numpy(np.array(count)),
            max_length=value.max_length,
        )
    if isinstance(value, ConfigDict):
        return value.to_dict()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, (*_PLAIN, dict, list, tuple, set, frozenset)):
        strangers.append(f'{type(value).__module__}.{type(value).__qualname__}')
    return value


def _convert(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Applies `leaf` to everything within nested containers; what it does not change stays the same object."""
    value = leaf(value)
    if isinstance(value, dict):
        items = [(leaf(key), _convert(item, leaf)) for key, item in value.items()]
        unchanged = all(old is new for pair in zip(value.items(), items) for old, new in zip(*pair))
        if unchanged and type(value) in (dict, OrderedDict, Counter):
            return value
        if not isinstance(value, OrderedDict):
            return dict(items)
        new = OrderedDict(items)
        # A state dict keeps the versions of its modules in an attribute, `_metadata`.
        new.__dict__.update(value.__dict__)
        return new
    if isinstance(value, (list, tuple, set, frozenset)) and not isinstance(value, torch.Size):
        items = [_convert(item, leaf) for item in value]
        if type(value) in (list, tuple, set) and all(old is new for old, new in zip(value, items)):
            return value
        kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))
        return set(items) if kind is frozenset else kind(items)
    return value


class _TorchForCheckpoints(types.ModuleType):
    """torch as `mmengine.runner.checkpoint` sees it: reading and writing are ours, the rest is torch's."""

    load = staticmethod(load_data)
    save = staticmethod(save_data)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _load_url(url: str, model_dir: Any = None, map_location: Any = None, progress: bool = True, **_: Any) -> Any:
    """`torch.hub.load_state_dict_from_url`, with the same cache folder, which reads what it downloaded as data."""
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, os.path.basename(urlparse(url).path))
    if not os.path.exists(path):
        print(f'Downloading: "{url}" to {path}', file=sys.stderr)
        torch.hub.download_url_to_file(url, path, None, progress=progress)
    return load_data(path, map_location)


def mend_checkpoints() -> None:
    """Makes every checkpoint that mmengine reads or writes plain data.

    With torch >= 2.6, mmengine 0.10.7 refuses its own checkpoints ("Unsupported global:
    mmengine.logging.history_buffer.HistoryBuffer"), and what it downloads it unpickles, code and all. All its loaders
    (local, http, torchvision, open-mmlab, mmcls, s3, pavi) and its writer live in one module and call `torch.load`,
    `torch.save` and `load_url` of that module. Needed until mmengine writes plain data and reads with `weights_only`.
    """
    from mmengine.runner import checkpoint

    if checkpoint.torch is torch:
        checkpoint.torch = _TorchForCheckpoints('torch')
        checkpoint.load_url = _load_url


def mend_resumed_histories() -> None:
    """Resumes the histories that `save_data` wrote as dicts of tensors; `MessageHub` wants HistoryBuffers.

    Needed for as long as `mend_checkpoints` is.
    """
    from mmengine.logging import HistoryBuffer, MessageHub

    original = MessageHub.load_state_dict
    if getattr(original, 'is_mended', False):
        return

    def history(value: Any) -> Any:
        if not isinstance(value, dict) or set(value) != {'log_history', 'count_history', 'max_length'}:
            return value
        buffer = HistoryBuffer(max_length=value['max_length'])
        # Copies: the checkpoint may be mapped into memory or shared.
        buffer._log_history = value['log_history'].cpu().numpy().copy()
        buffer._count_history = value['count_history'].cpu().numpy().copy()
        return buffer

    @functools.wraps(original)
    def load_state_dict(self, state_dict):
        if isinstance(state_dict, dict) and 'log_scalars' in state_dict:
            histories = {key: history(value) for key, value in state_dict['log_scalars'].items()}
            state_dict = {**state_dict, 'log_scalars': histories}
        original(self, state_dict)

    load_state_dict.is_mended = True
    MessageHub.load_state_dict = load_state_dict


# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


def name_unreadable_samples() -> None:
    """Says which image a data set stopped at.

    Of an empty file OpenCV says "!buf.empty()", of a broken mask Pillow "cannot identify image file <_io.BytesIO>", hours into
    an epoch, and neither says its name. Needed until mmengine's data sets do.
    """
    from mmengine.dataset import BaseDataset

    original = BaseDataset.prepare_data
    if getattr(original, 'is_mended', False):
        return

    @functools.wraps(original)
    def prepare_data(self, idx):
        try:
            return original(self, idx)
        except Exception as error:
            info = self.get_data_info(idx)
            paths = [repr(info[key]) for key in ('img_path', 'seg_map_path') if isinstance(info.get(key), str)]
            files = ' with the mask '.join(paths) or 'which names no file'
            reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
            raise RuntimeError(
                f'sample {idx} of the data set, {files}, cannot be prepared ({reason}): replace the file, or take it out of the '
                'list of images.'
            ) from error

    prepare_data.is_mended = True
    BaseDataset.prepare_data = prepare_data


# ---------------------------------------------------------------------------------------------------------------------
# Distributed training
# ---------------------------------------------------------------------------------------------------------------------


def mend_distributed_without_gpu() -> None:
    """Lets `--launcher pytorch` train an unchanged config on a machine without a GPU, through gloo.

    mmengine's launcher selects a CUDA device and opens the configured backend, 'nccl' by default, whatever there is;
    its Runner gives `device_ids` to the data parallel wrapper, which refuses them for a model on the CPU. Needed until
    mmengine looks at the devices first.
    """
    from mmengine.device import get_device
    from mmengine.dist import utils
    from mmengine.model import MMDistributedDataParallel

    if get_device() != 'cpu' or getattr(utils._init_dist_pytorch, 'is_mended', False):
        return

    def _init_dist_pytorch(backend: str, init_backend: str = 'torch', **kwargs: Any) -> None:
        torch.distributed.init_process_group(backend='gloo', **kwargs)
        # Left open, gloo's threads can outlive the interpreter and end a finished process with "terminate called".
        atexit.register(_close_process_groups)

    _init_dist_pytorch.is_mended = True
    utils._init_dist_pytorch = _init_dist_pytorch

    original = MMDistributedDataParallel.__init__

    @functools.wraps(original)
    def __init__(self, module, *args, **kwargs):
        kwargs.pop('device_ids', None)
        original(self, module, *args, **kwargs)

    MMDistributedDataParallel.__init__ = __init__


def _close_process_groups() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


# ---------------------------------------------------------------------------------------------------------------------
# Mixed precision
# ---------------------------------------------------------------------------------------------------------------------


def mend_amp_without_gpu() -> None:
    """Lets `--amp` train on a machine without a GPU, in bfloat16.

    mmengine's AmpOptimWrapper refuses to be made there, although its autocast takes a CPU for bfloat16, which has the range of
    float32, so that no loss needs to be scaled. Needed until mmengine's wrapper looks at what autocast can do.
    """
    from mmengine.device import get_device
    from mmengine.optim import AmpOptimWrapper

    original = AmpOptimWrapper.__init__
    if get_device() != 'cpu' or getattr(original, 'is_mended', False):
        return

    @functools.wraps(original)
    def __init__(self, *args, **kwargs):
        # Without CUDA the scaler that it makes is idle.
        module = sys.modules[AmpOptimWrapper.__module__]
        real = module.is_cuda_available
        module.is_cuda_available = lambda: True
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings('ignore', '.*GradScaler', category=Warning)
                original(self, *args, **kwargs)
        finally:
            module.is_cuda_available = real

    __init__.is_mended = True
    AmpOptimWrapper.__init__ = __init__
