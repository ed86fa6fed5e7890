from typing import Any

from torch import nn


class StudentAttributes:
    """A base class of a distillation, in which hooks and optimizer constructors for the student work.

    An attribute that the distillation does not have is that of the student, ``self.architecture``: ``bbox_head``, ``backbone``,
    ``with_neck`` and ``get_layer_depth`` for example. Once the distillation is constructed, such an attribute is also set on the
    student. Names with a leading underscore are excluded, since ``copy``, ``pickle`` and PyTorch use them to examine an object.
    """

    _sets_student_attributes = False

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of this module, else that of the student."""
        try:
            return super().__getattr__(name)  # type: ignore[misc]
        except AttributeError:
            student = self._get_student()
            if student is None or not _is_shared(name) or not hasattr(student, name):
                raise
        return getattr(student, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of this module; on the student, if only the student has it."""
        if self._sets_student_attributes and _is_shared(name) and not self._has(name):
            student = self._get_student()
            if student is not None and hasattr(student, name):
                setattr(student, name, value)
                return
        super().__setattr__(name, value)

    def _has(self, name: str) -> bool:
        stores = ('_parameters', '_buffers', '_modules')
        return (
            name in self.__dict__ or hasattr(type(self), name) or any(name in self.__dict__[store] for store in stores)
        )

    def _get_student(self) -> nn.Module | None:
        # `copy` and `pickle` examine an object without any attributes.
        student: nn.Module | None = self.__dict__.get('_modules', {}).get('architecture')
        return student

    def optimizer_view(self) -> nn.Module:
        """Return a module whose parameters have the names that constructors with layer-wise rates require.

        Returns:
            nn.Module: A view that shares all parameters. Those of the student are named as in the student alone,
            ``backbone.conv1.weight`` instead of ``architecture.backbone.conv1.weight``.
        """
        return _OptimizerView(self)


class _OptimizerView(nn.Module):
    """The children of the student, followed by the other children of the distillation."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        student = model.architecture
        # Not registered as a child.
        self.__dict__['_student'] = student
        others = {
            name: child for name, child in model.named_children() if name not in ('architecture', 'data_preprocessor')
        }
        self._modules = {**student._modules, **others}
        self._parameters = student._parameters

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith('_'):
                raise
        return getattr(self.__dict__['_student'], name)


def _is_shared(name: str) -> bool:
    # OpenMMLab recognizes a wrapper for distributed training by its attribute `module`.
    return not name.startswith('_') and name != 'module'
