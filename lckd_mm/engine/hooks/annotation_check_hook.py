from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor

from lckd_mm.engine.annotation_faults import sample_faults, stored_faults
from lckd_mm.engine.dataset_info import class_names, ignored_label
from lckd_mm.errors import ConfigValueError


@HOOKS.register_module()
class AnnotationCheckHook(Hook):
    """Reject annotations that do not match their image or their data set.

    Boxes and labels that the data set stores are checked before the first step. Masks, and boxes after the pipeline, are
    known only when an image is read. They are checked in each batch of the first epoch, before the step.

    Without this hook, a box without area causes an infinite loss in one batch of an epoch. Some trainings never recover
    from it, and none reports the reason. A label that is too high causes an index error, or on a GPU a failed assertion in
    a kernel. A mask with another size than its image is compared with the wrong pixels.

    Raises:
        ConfigValueError: An annotation is wrong; the error names the image, the fault and the fix.

    Example:
        >>> AnnotationCheckHook().priority
        'VERY_HIGH'
    """

    # Before any other hook receives the batch.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Check the boxes and labels that the data set stores in memory.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ConfigValueError: A box or a label is wrong.
        """
        dataset = runner.train_dataloader.dataset
        classes = class_names(dataset)
        self._num_classes = len(classes) if classes else None
        self._ignore_index = ignored_label(dataset)
        self._end_of_first_epoch = runner.iter + len(runner.train_dataloader)
        faults = list(stored_faults(dataset, self._num_classes))
        if faults:
            path, fault = faults[0]
            others = f' ({len(faults) - 1} more faults of this kind)' if len(faults) > 1 else ''
            raise ConfigValueError(f'{path!r} of the training data {fault.problem}{others}: {fault.fix}.')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Check the batch if it belongs to the first epoch.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch; not used.
            data_batch (Any): The batch. Forms other than a list of images with their data samples are not checked, several
                views of an image for example.

        Raises:
            ConfigValueError: An annotation is wrong.
        """
        if runner.iter >= self._end_of_first_epoch or not isinstance(data_batch, dict):
            return
        images, samples = data_batch.get('inputs'), data_batch.get('data_samples')
        if not isinstance(images, (list, tuple, Tensor)) or not isinstance(samples, (list, tuple)):
            return
        for index, (image, sample) in enumerate(zip(images, samples, strict=False)):
            fault = next(sample_faults(image, sample, self._num_classes, self._ignore_index), None)
            if fault is not None:
                path = getattr(sample, 'img_path', None) or f'image {index} of the batch'
                raise ConfigValueError(f'{str(path)!r} {fault.problem}: {fault.fix}.')
