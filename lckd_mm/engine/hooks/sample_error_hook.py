import os

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from ..sample_errors import name_unreadable_samples
from ..truncated_images import TruncatedImages


@HOOKS.register_module()
class SampleErrorHook(Hook):
    """Let errors of the Runner's data sets name the files of the sample that cannot be read, and log truncated images.

    The data sets are modified before the first iteration of a loop, when the worker processes do not exist yet. OpenCV 4
    decodes a truncated JPEG without an error. It is logged when it is first read, counted at the end, and listed in
    ``truncated_images.txt`` next to the log.

    Example:
        >>> default_hooks = dict(sample_errors=dict(type='mmrazor.SampleErrorHook'))
    """

    # Before other hooks read from the data sets.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Modify the data set of the training loop."""
        name_unreadable_samples(runner.train_loop.dataloader.dataset, _truncated_images(runner))

    def before_val(self, runner: Runner) -> None:
        """Modify the data set of the validation loop."""
        name_unreadable_samples(runner.val_loop.dataloader.dataset, _truncated_images(runner))

    def before_test(self, runner: Runner) -> None:
        """Modify the data set of the test loop."""
        name_unreadable_samples(runner.test_loop.dataloader.dataset, _truncated_images(runner))

    def after_train(self, runner: Runner) -> None:
        """Log the number of truncated images."""
        _log_truncated_images(runner)

    def after_test(self, runner: Runner) -> None:
        """Log the number of truncated images."""
        _log_truncated_images(runner)


def _truncated_images(runner: Runner) -> TruncatedImages:
    return TruncatedImages(os.path.join(runner.log_dir, 'truncated_images.txt'))


def _log_truncated_images(runner: Runner, max_listed: int = 5) -> None:
    images = _truncated_images(runner)
    paths = images.paths() if is_main_process() else []
    if paths:
        names = ', '.join(map(repr, paths[:max_listed])) + (', ...' if len(paths) > max_listed else '')
        runner.logger.warning(
            f'truncated image files that were read: {len(paths)} ({names}), listed in {images.list_path!r}.'
        )
