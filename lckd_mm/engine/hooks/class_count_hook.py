from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from lckd_mm.engine.class_counts import class_count_problem, class_heads, validation_count_problem
from lckd_mm.engine.dataset_info import class_names
from lckd_mm.engine.distillation import student_of
from lckd_mm.errors import ConfigValueError


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Reject a training whose data and model disagree about the number of classes.

    Without this hook, too many classes in the data cause an index error during an epoch, or on a GPU a failed assertion in
    a kernel. Too few are not noticed. In a distillation only the student is checked, since a teacher may know other classes.
    A head is accepted wherever its classes may be others than those of the data set; see
    :func:`lckd_mm.engine.class_counts.class_heads`.

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
        dataset = runner.train_dataloader.dataset
        classes = class_names(dataset)
        if classes is None:
            return
        model = student_of(runner)
        heads = list(class_heads(model))
        problem = class_count_problem(heads, dataset.metainfo)
        # A model without such heads, of an open vocabulary for example, can be validated on other classes. So can a tracker:
        # it is trained on images of one class, and validated on videos whose annotations have others.
        if problem is None and heads and runner.val_loop is not None and not hasattr(model, 'tracker'):
            # `val_dataloader` builds the data set on first access.
            problem = validation_count_problem(class_names(getattr(runner.val_dataloader, 'dataset', None)), classes)
        if problem is not None:
            raise ConfigValueError(problem)
