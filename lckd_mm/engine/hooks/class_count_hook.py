from typing import Any, Optional, Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import nn


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Refuse a training whose data have another number of classes than the model's heads; ``tools/train.py`` registers it.

    Without it a class too many is an index error somewhere in an epoch, or on a GPU a failed assertion in a kernel, and a class
    too few is not noticed at all. Of a distillation the student is looked at: a teacher may know other classes.

    Raises:
        ValueError: Before the first step; names the head, its number of classes and those of the data set.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare every head with the training data, and the validation data with those."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model = getattr(model, 'architecture', model)
        classes = _classes(runner.train_dataloader.dataset)
        if classes is None:
            return
        for name, head in model.named_modules():
            n_classes = getattr(head, 'num_classes', None)
            if not _classifies(name, head) or not isinstance(n_classes, int) or n_classes == len(classes):
                continue
            raise ValueError(
                f'{name} has num_classes={n_classes}, but the training data have {len(classes)} classes '
                f'({_some(classes)}): set {name}.num_classes={len(classes)}, or give the data set those classes in its metainfo.'
            )
        validation = _classes(getattr(runner.val_dataloader, 'dataset', None)) if runner.val_loop is not None else None
        if validation is not None and len(validation) != len(classes):
            raise ValueError(
                f'the validation data have {len(validation)} classes ({_some(validation)}) and the training data '
                f'{len(classes)} ({_some(classes)}): give both the same metainfo, or folders of the same classes.'
            )


def _classes(dataset: Any) -> Optional[Sequence[str]]:
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')


def _classifies(name: str, head: nn.Module) -> bool:
    # A region proposal network tells objects from background, whatever their classes.
    return 'head' in name.rpartition('.')[2] and 'RPN' not in type(head).__name__ and 'rpn' not in name


def _some(names: Sequence[str], at_most: int = 4) -> str:
    return ', '.join(map(str, names[:at_most])) + (', ...' if len(names) > at_most else '')
