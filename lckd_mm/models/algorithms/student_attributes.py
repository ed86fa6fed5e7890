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

    def optimizer_view(self, as_student: bool) -> nn.Module:
        """Return a module with the parameters that an optimizer receives: without a frozen network.

        Args:
            as_student (bool): Whether the student's parameters have the names that they have in the student alone, which
                constructors with layer-wise rates require: ``backbone.conv1.weight``. Otherwise the names are those of the
                distillation: ``architecture.backbone.conv1.weight``.

        Returns:
            nn.Module: The view; it shares all parameters.
        """
        return _OptimizerView(self, as_student)


class _OptimizerView(nn.Module):
    """A module with the children of a distillation that are trained."""

    def __init__(self, model: Any, as_student: bool) -> None:
        super().__init__()
        student = model.architecture
        # Not registered as a child.
        self.__dict__['_student'] = student
        for name, child in model.named_children():
            is_frozen = name == 'teacher' and not any(parameter.requires_grad for parameter in child.parameters())
            # A data preprocessor has no parameters, and that of the distillation may be that of the student.
            if not is_frozen and name != 'data_preprocessor':
                self._modules[name] = child
        if as_student:
            del self._modules['architecture']
            # The student's children come first, as in the distillation.
            self._modules = {**student._modules, **self._modules}
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
