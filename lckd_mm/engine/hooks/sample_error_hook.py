from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from ..sample_errors import name_unreadable_samples


@HOOKS.register_module()
class SampleErrorHook(Hook):
    """Let errors of the Runner's data sets name the files of the sample that cannot be read.

    The data sets are modified before the first iteration of a loop, when the worker processes do not exist yet.

    Example:
        >>> default_hooks = dict(sample_errors=dict(type='mmrazor.SampleErrorHook'))
    """

    # Before other hooks read from the data sets.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Modify the data set of the training loop."""
        name_unreadable_samples(runner.train_loop.dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Modify the data set of the validation loop."""
        name_unreadable_samples(runner.val_loop.dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Modify the data set of the test loop."""
        name_unreadable_samples(runner.test_loop.dataloader.dataset)
