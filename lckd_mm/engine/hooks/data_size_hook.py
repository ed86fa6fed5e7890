from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from lckd_mm.errors import ConfigValueError

from ..dataset_info import inner_datasets

_FILE_OPTIONS = ('ann_file', 'data_root', 'data_prefix')


@HOOKS.register_module()
class DataSizeHook(Hook):
    """Reject a data set without images, and a training set without a full batch if incomplete batches are dropped.

    Without this hook, such a training ends at once without an error, or a sampler of infinite batches never returns.

    Raises:
        ConfigValueError: A data loader yields no batch; names its files.

    Example:
        >>> default_hooks = dict(data_size=dict(type='mmrazor.DataSizeHook'))
    """

    # Before other hooks read from the data sets.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Check the data of the training, and of its evaluation if there is one."""
        _check_size('train', runner.train_loop.dataloader)
        if runner.val_loop is not None:
            _check_size('val', runner.val_loop.dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check the data of the evaluation."""
        _check_size('test', runner.test_loop.dataloader)


def _check_size(loop: str, loader: Any) -> None:
    # Data sets of streams have no length.
    if not hasattr(loader.dataset, '__len__'):
        return
    num_images = len(loader.dataset)
    if num_images == 0:
        inner = inner_datasets(loader.dataset)[0]
        files = ', '.join(f'{name}={getattr(inner, name)!r}' for name in _FILE_OPTIONS if getattr(inner, name, None))
        raise ConfigValueError(
            f'the data set of {loop}_dataloader has no images ({type(inner).__name__}: {files}): name a list with images, and check that '
            'filter_cfg and the class names (metainfo) do not exclude all of them.'
        )
    if len(loader) == 0:
        # mmdet's samplers of batches have a batch size and a sampler of their own.
        batches = loader if loader.batch_size is not None else loader.batch_sampler
        num_samples = len(batches.sampler) if hasattr(batches.sampler, '__len__') else num_images
        share = '' if get_world_size() == 1 else f' of each of the {get_world_size()} processes'
        raise ConfigValueError(
            f'{loop}_dataloader yields no batch: drop_last=True drops the only one{share}, of {num_samples} images, since '
            f'batch_size={batches.batch_size}; use a batch size of at most {num_samples}.'
        )
