"""Patches of mmengine's reading and writing of checkpoints.

All loaders of mmengine (local, http, torchvision, open-mmlab, mmcls, s3, pavi) and its writer are in one module, and call
`torch.load`, `torch.save` and `load_url` of that module.
"""

import contextlib
import types
from collections.abc import Callable
from typing import Any

import torch

from ..checkpoint import load_data, save_data
from ..checkpoint_path import check_checkpoint_path
from ..downloads import download, read_download
from ..errors import ConfigError, ConfigValueError
from ..state_dicts import TensorWrites, match_student
from .patching import patch


@patch(
    'mmengine.runner.checkpoint',
    'torch',
    library='mmengine',
    versions='>=0.10,<1',
    issue='open-mmlab/mmengine#1655',
    reason="mmengine cannot resume from its own checkpoints with torch 2.6 or newer: 'Unsupported global: "
    "mmengine.logging.history_buffer.HistoryBuffer'; it writes objects that are not data",
    until='mmengine writes plain data, and reads with weights_only=True',
)
def mmengine_checkpoint_files(_: types.ModuleType) -> types.ModuleType:
    """Read and write checkpoints as data; everything else comes from torch."""
    return _TorchForCheckpoints('torch')


class _TorchForCheckpoints(types.ModuleType):
    """`torch` as the module `mmengine.runner.checkpoint` uses it."""

    save = staticmethod(save_data)

    @staticmethod
    def load(file: Any, map_location: Any = None, **_: Any) -> Any:
        """Read a checkpoint as data, whatever `weights_only` is."""
        return load_data(file, map_location)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@patch(
    'mmengine.runner.checkpoint',
    '_safe_torch_load',
    library='mmengine',
    versions='',
    onedl='>=0.10.11,<1',
    issue='none known',
    reason="the fork reads a refused checkpoint again, and warns 'Falling back to weights_only=False', although the second reader is "
    'safe as well',
    until='the fork does not fall back to weights_only=False',
)
def mmengine_checkpoint_fallback(_: Callable[..., Any]) -> Callable[..., Any]:
    """Read a checkpoint once, as data."""

    def _safe_torch_load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return load_data(file, map_location)

    return _safe_torch_load


@patch(
    'mmengine.runner.checkpoint',
    'load_url',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='mmengine executes code that a downloaded checkpoint contains: load_state_dict_from_url reads with weights_only=False; it does '
    'not compare the file with the hash in its name',
    until='mmengine passes weights_only=True and check_hash=True to load_state_dict_from_url',
)
def mmengine_checkpoint_downloads(_: Callable[..., Any]) -> Callable[..., Any]:
    """Verify downloaded checkpoints, and read them as data."""
    return _load_url


def _load_url(url: str, model_dir: Any = None, map_location: Any = None, progress: bool = True, **_: Any) -> Any:
    """Replaces ``torch.hub.load_state_dict_from_url``, with the same cache folder."""
    path = download(url, model_dir, progress)
    return read_download(path, lambda file: load_data(file, map_location))


@patch(
    # The modules that import the function by name.
    ('mmengine.runner.checkpoint', 'mmengine.runner.runner'),
    '_load_checkpoint',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a folder, a list, a missing file or an unknown model name in place of a checkpoint ends in a traceback that names no fix',
    until='mmengine raises such errors as a class of their own, with the fix',
)
def mmengine_checkpoint_paths(original: Callable[..., Any]) -> Callable[..., Any]:
    """Raise configuration errors for paths of checkpoints that cannot be loaded."""

    def _load_checkpoint(filename: Any, *args: Any, **kwargs: Any) -> Any:
        check_checkpoint_path(filename, 'the checkpoint ')
        try:
            content = original(filename, *args, **kwargs)
        except ConfigError:
            raise
        except (FileNotFoundError, ImportError, KeyError) as error:
            raise ConfigValueError(
                f'the checkpoint {filename!r} cannot be loaded ({type(error).__name__}: {" ".join(str(error).split())}): correct its name, '
                'or give the path of a local file.'
            ) from error
        if not isinstance(content, dict):
            raise ConfigValueError(
                f'{str(filename)!r} contains no state dict, but a {type(content).__name__}: give a checkpoint of the model.'
            )
        return content

    return _load_checkpoint


@patch(
    'mmengine.runner.checkpoint',
    'load_state_dict',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason='a distillation that loads a checkpoint of its student alone, and a student that loads one of its distillation, receive no '
    'weight: the keys of the distillation begin with `architecture.`',
    until='MMRazor loads the student of both kinds of checkpoints',
)
def mmengine_student_weights(original: Callable[..., None]) -> Callable[..., None]:
    """Rename the keys of a state dict if one of model and checkpoint is a distillation, and the other its student alone."""

    def load_state_dict(module: Any, state_dict: Any, strict: bool = False, logger: Any = None) -> None:
        from mmengine.model import BaseTTAModel, is_model_wrapper

        is_wrapped = is_model_wrapper(module) or isinstance(module, BaseTTAModel)
        original(module, match_student(state_dict, module.module if is_wrapped else module), strict, logger)

    return load_state_dict


@patch(
    'mmengine.model.weight_init:PretrainedInit',
    '__call__',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="`init_cfg=dict(type='Pretrained', checkpoint=...)` with a checkpoint of another model, or without the `prefix` that it needs, "
    'loads nothing and trains from random weights',
    until='mmengine rejects a checkpoint of which nothing is loaded',
)
def mmengine_pretrained_init(original: Callable[..., None]) -> Callable[..., None]:
    """Reject a checkpoint of which nothing is loaded."""

    def __call__(self: Any, module: Any) -> None:  # noqa: N807  (replaces this method)
        writes = TensorWrites(module)
        with contextlib.suppress(AssertionError):
            # mmengine asserts that a key begins with the prefix.
            original(self, module)
        num_tensors = len(writes.shapes())
        if num_tensors and not writes.written():
            prefix = '' if self.prefix is None else f' below prefix={self.prefix!r}'
            raise ConfigValueError(
                f'init_cfg of {type(module).__name__}: 0 of its {num_tensors} tensors match checkpoint={self.checkpoint!r}{prefix} by '
                "name and shape: give a checkpoint of this module, or the prefix of its keys, for example 'backbone.', or "
                "'architecture.backbone.' in a checkpoint of a distillation."
            )

    return __call__
