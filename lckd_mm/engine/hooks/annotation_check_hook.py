import logging
import os
from collections.abc import Iterable
from typing import Any, TypeVar

from mmengine.dist import all_gather_object, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from rich.progress import track
from torch import Tensor

from lckd_mm.engine.annotation_faults import StoredSamples, sample_faults, stored_faults
from lckd_mm.engine.dataset_info import class_names, ignored_label
from lckd_mm.engine.ignored_objects import annotation_files, ignored_objects, ignored_objects_message
from lckd_mm.errors import ConfigValueError

_Item = TypeVar('_Item')
# Fewer are checked in less than a second.
_MIN_FOR_PROGRESS = 2000


@HOOKS.register_module()
class AnnotationCheckHook(Hook):
    """Reject annotations that do not match their image or their data set.

    Boxes and labels that the data set stores are checked before the first step, by one process of each machine. Objects of
    classes that the data set does not have are counted in a warning. Masks, and boxes after the pipeline, are known only
    when an image is read. They are checked in each batch of the first epoch, before the step.

    Without this hook, a box without area causes an infinite loss in one batch of an epoch. Some trainings never recover
    from it, and none reports the reason. A label that is too high causes an index error, or on a GPU a failed assertion in
    a kernel. A mask with another size than its image is compared with the wrong pixels.

    Args:
        max_images (int): Maximum number of images whose annotations are checked before the first step; of a larger number,
            equally spaced ones are checked. Defaults to 200000.
        max_file_megabytes (int): COCO files above this size are not searched for objects of other classes. Defaults to 100.

    Raises:
        ConfigValueError: An annotation is wrong; the error names the image, the fault and the fix.

    Example:
        >>> AnnotationCheckHook().priority
        'VERY_HIGH'
    """

    # Before any other hook receives the batch.
    priority = 'VERY_HIGH'

    def __init__(self, max_images: int = 200_000, max_file_megabytes: int = 100) -> None:
        if max_images < 1 or max_file_megabytes < 0:
            raise ConfigValueError(
                f'max_images={max_images} and max_file_megabytes={max_file_megabytes} of AnnotationCheckHook are not valid; '
                'valid: at least 1 and at least 0; default_hooks.annotation_check=None switches the check off.'
            )
        self.max_images = max_images
        self.max_file_megabytes = max_file_megabytes

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
        self._has_stuff = 'stuff_classes' in (getattr(dataset, 'metainfo', None) or {})
        self._end_of_first_epoch = runner.iter + len(runner.train_dataloader)
        problem = self._problem_of_all_machines(dataset)
        if problem is not None:
            raise ConfigValueError(problem)

    def _problem_of_all_machines(self, dataset: Any) -> str | None:
        """Check the data set once on each machine; all processes return the same sentence, and none waits for another."""
        if not is_distributed():
            return self._problem(dataset)
        problem = None
        # The launchers of PyTorch and Slurm define it; with others every process checks.
        if int(os.environ.get('LOCAL_RANK', 0)) == 0:
            try:
                problem = self._problem(dataset)
            except Exception as error:
                reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
                problem = (
                    f'the annotations of the training data cannot be checked ({reason}): correct them, or switch the check '
                    'off with default_hooks.annotation_check=None.'
                )
        return next((sentence for sentence in all_gather_object(problem) if sentence is not None), None)

    def _problem(self, dataset: Any) -> str | None:
        """Return a sentence on the first fault, and log the objects that the data set ignores."""
        samples = StoredSamples(dataset, self.max_images)
        if len(samples) < samples.num_samples:
            print_log(
                f'checking the annotations of {len(samples)} of {samples.num_samples} images, equally spaced; the limit is '
                f'{self.max_images}, max_images of AnnotationCheckHook.',
                logger='current',
            )
        faults = list(stored_faults(_with_progress(samples, len(samples), 'checking annotations'), self._num_classes))
        self._warn_of_ignored_objects(dataset)
        if not faults:
            return None
        path, fault = faults[0]
        others = f' ({len(faults) - 1} more faults of this kind)' if len(faults) > 1 else ''
        return f'{path!r} of the training data {fault.problem}{others}: {fault.fix}.'

    def _warn_of_ignored_objects(self, dataset: Any) -> None:
        files = []
        for inner, path in annotation_files(dataset, self.max_images):
            if path.endswith('.json') and os.path.getsize(path) > self.max_file_megabytes * 10**6:
                print_log(
                    f'{path!r} is not searched for objects of other classes: it is larger than {self.max_file_megabytes} MB, '
                    'max_file_megabytes of AnnotationCheckHook.',
                    logger='current',
                )
            else:
                files.append((inner, path))
        ignored = ignored_objects(_with_progress(files, len(files), 'checking classes'))
        if ignored:
            print_log(ignored_objects_message(ignored), logger='current', level=logging.WARNING)

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
            # The masks of a detector without stuff classes are those of another data set, COCO-Stuff for example.
            num_mask_classes = self._num_classes if self._has_stuff or not hasattr(sample, 'gt_instances') else None
            faults = sample_faults(image, sample, self._num_classes, self._ignore_index, num_mask_classes)
            fault = next(faults, None)
            if fault is not None:
                path = getattr(sample, 'img_path', None) or f'image {index} of the batch'
                raise ConfigValueError(f'{str(path)!r} {fault.problem}: {fault.fix}.')


def _with_progress(items: Iterable[_Item], number: int, description: str) -> Iterable[_Item]:
    is_shown = number >= _MIN_FOR_PROGRESS and is_main_process()
    return track(items, description=description, total=number, disable=not is_shown)
