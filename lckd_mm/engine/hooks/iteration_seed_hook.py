from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from ..random_numbers import WorkerSeeds, seed_iteration


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Let the random numbers of a training depend only on its seed and its iteration, so that a resumed training has the same.

    The generators of Python, NumPy and torch are seeded before each batch is loaded and before each evaluation. Worker processes are
    seeded by epoch and worker when they start. In a training that counts epochs they start with each epoch, also those with
    ``persistent_workers=True``, whose random numbers and caches could not be restored.

    Processes of a distributed training have the same random numbers unless ``randomness.diff_rank_seed`` is set, as in mmengine; their
    workers never do. A ``worker_init_fn`` in the config stays as it is.

    Example:
        >>> default_hooks = dict(iteration_seed=dict(type='mmrazor.IterationSeedHook'))
    """

    # Before other hooks draw random numbers.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Replace the function that seeds the workers."""
        self._worker_seeds = WorkerSeeds.replace(runner.train_loop.dataloader)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the generators and the workers of the epoch, which have not started yet."""
        seed_iteration(runner.seed, runner.iter)
        if self._worker_seeds is not None:
            self._worker_seeds.epoch = runner.epoch
        if getattr(runner.train_loop.dataloader, 'persistent_workers', False):
            # The data loader starts new workers if it has no iterator.
            runner.train_loop.dataloader._iterator = None

    def before_load_batch(self, runner: Runner, iteration: int) -> None:
        """Seed the generators before the batch of an iteration is loaded; see ``lckd_mm.compat.mmengine_loops``.

        Args:
            runner (Runner): The runner of the training.
            iteration (int): Index of the iteration.
        """
        seed_iteration(runner.seed, iteration)
        if self._worker_seeds is not None:
            # A training that counts iterations starts new workers when the data loader is exhausted.
            self._worker_seeds.epoch = iteration // len(runner.train_loop.dataloader)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed the generators of the evaluation."""
        seed_iteration(runner.seed, runner.iter)
