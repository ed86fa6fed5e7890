from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import nn

from lckd_mm.engine.dataset_info import class_names
from lckd_mm.engine.distillation import student_of
from lckd_mm.errors import ConfigValueError


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Reject a training whose data and model disagree about the number of classes.

    Without this hook, too many classes in the data cause an index error during an epoch, or on a GPU a failed assertion in
    a kernel. Too few are not noticed. In a distillation only the student is checked, since a teacher may know other classes.

    Raises:
        ConfigValueError: Before training: a head or the validation data have another number of classes than the training
            data.

    Example:
        >>> ClassCountHook().priority
        'NORMAL'
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        """Compare the heads and the validation data with the training data.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ConfigValueError: The numbers of classes differ.
        """
        classes = class_names(runner.train_dataloader.dataset)
        if classes is None:
            return
        _check_heads(student_of(runner), classes)
        # `val_dataloader` builds the data set on first access.
        if runner.val_loop is not None:
            _check_validation(class_names(getattr(runner.val_dataloader, 'dataset', None)), classes)


def _check_heads(model: nn.Module, classes: Sequence[str]) -> None:
    for name, head in model.named_modules():
        num_classes = getattr(head, 'num_classes', None)
        if not _is_classifier(name, head) or not isinstance(num_classes, int) or num_classes == len(classes):
            continue
        raise ConfigValueError(
            f'{name} has num_classes={num_classes}, but the training data have {len(classes)} classes '
            f'({_abbreviate(classes)}): set {name}.num_classes={len(classes)}, or correct the classes in the metainfo of '
            'the data set.'
        )


def _check_validation(validation_classes: Sequence[str] | None, classes: Sequence[str]) -> None:
    if validation_classes is not None and len(validation_classes) != len(classes):
        raise ConfigValueError(
            f'the validation data have {len(validation_classes)} classes ({_abbreviate(validation_classes)}), but the '
            f'training data have {len(classes)} ({_abbreviate(classes)}): use the same metainfo for both, or folders of '
            'the same classes.'
        )


def _is_classifier(name: str, module: nn.Module) -> bool:
    # A region proposal network distinguishes objects from background, independent of their classes.
    return 'head' in name.rpartition('.')[2] and 'RPN' not in type(module).__name__ and 'rpn' not in name


def _abbreviate(names: Sequence[str], max_listed: int = 4) -> str:
    return ', '.join(map(str, names[:max_listed])) + (', ...' if len(names) > max_listed else '')
