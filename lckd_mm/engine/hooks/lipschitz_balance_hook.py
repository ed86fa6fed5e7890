from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor

from lckd_mm.engine.distillation import distiller_of, unwrapped_model
from lckd_mm.errors import ConfigValueError, unknown_name

from .loss_weight_hook import LossWeightHook

# The default momentum of each measure.
_MOMENTA = {'loss': 0.9, 'gradient': 0.5}
# What the share of each measure is a part of.
_TOTALS = {'loss': 'total loss', 'gradient': 'gradient norm'}
_DEFAULT_LOSS = 'loss_lipschitz'
# The losses are multiplied by it before their gradients are computed, so that gradients through half-precision maps do
# not underflow. A power of two changes no digit.
_GRADIENT_SCALE = 1024.0


@HOOKS.register_module()
class LipschitzBalanceHook(LossWeightHook):
    r"""Keep a distillation loss at a fixed share of the total, so that no weight has to be tuned per task.

    After each iteration the weight becomes :math:`\frac{s}{1 - s} \bar r / \bar u`. Here s is the share, u the unweighted
    loss, and r the sum of all other losses; bars denote exponential moving averages. The weight in the config is the
    weight of the first iteration. According to the paper's ablation, accuracy decreases once the Lipschitz loss is more
    than about 20 % of the total.

    With ``measure='gradient'``, u and r are gradient norms instead of loss values. Both are norms with respect to the
    student's parameters that the distillation loss reaches. The value of a loss does not determine its gradient norm
    (docs/experiments.md). The norms take two additional backward passes, every ``measure_interval`` iterations. They
    change fastest at first, so they are also measured at iterations 0, 1, 2, 4, 8, and so on.

    Without a loss that compares spectral norms, the default ``loss`` is no error, and the hook does nothing: a child config can
    remove the loss that it inherits. The weight does not change if a loss is zero or not finite on any rank. In distributed
    training, all ranks use the mean over the ranks. Checkpoints contain the state, and a resumed training continues with it.

    Args:
        share (float): Share of the total, 0 < share < 1. Defaults to 0.1.
        measure (str): The quantity of which the loss gets its share: ``'loss'``, the value of the total loss as in the
            paper, or ``'gradient'``, the gradient norm. Defaults to ``'loss'``.
        loss (str): Name of the loss in ``distill_losses``. Defaults to ``'loss_lipschitz'``.
        momentum (float, optional): Momentum of the averages over the measurements, 0 <= momentum < 1. None means 0.9 for
            losses, an average over about ten iterations as in mmengine's log, and 0.5 for the less frequent gradients.
            Defaults to None.
        max_weight (float, optional): Upper bound of the weight. Without it the weight grows while the student's norms
            approach the teacher's. Defaults to None, no bound.
        interval (int): Iterations between two log entries of weight and share. Defaults to 10.
        measure_interval (int): Iterations between two measurements of gradients. Defaults to 50: two additional backward
            passes every 50 iterations.

    Raises:
        ConfigValueError: ``measure`` is unknown, or a number is outside its range. Before training: the loss weight is
            not positive; see also :meth:`LossWeightHook.before_train`.

    Example:
        >>> hook = LipschitzBalanceHook(share=0.25, measure='gradient')
        >>> hook.loss, hook.momentum
        ('loss_lipschitz', 0.5)
    """

    def __init__(
        self,
        share: float = 0.1,
        measure: str = 'loss',
        loss: str = _DEFAULT_LOSS,
        momentum: float | None = None,
        max_weight: float | None = None,
        interval: int = 10,
        measure_interval: int = 50,
    ) -> None:
        super().__init__(loss)
        if measure not in _MOMENTA:
            raise ConfigValueError(unknown_name('LipschitzBalanceHook: measure', measure, _MOMENTA))
        if momentum is None:
            momentum = _MOMENTA[measure]
        if not 0 < share < 1:
            raise ConfigValueError(
                f'LipschitzBalanceHook: share={share!r} is not between 0 and 1: use a fraction of the total, 0.1 for example.'
            )
        if not 0 <= momentum < 1:
            raise ConfigValueError(
                f'LipschitzBalanceHook: momentum={momentum!r} is outside [0, 1): use 0.9, or 0 for no smoothing.'
            )
        if max_weight is not None and not max_weight > 0:
            raise ConfigValueError(
                f'LipschitzBalanceHook: max_weight={max_weight!r} is not positive: use a positive number, or None for no bound.'
            )
        for name, value in (('interval', interval), ('measure_interval', measure_interval)):
            if value < 1:
                raise ConfigValueError(
                    f'LipschitzBalanceHook: {name}={value!r} is not a number of iterations: use 1 or more.'
                )
        self.share, self.measure, self.momentum = share, measure, momentum
        self.max_weight, self.interval, self.measure_interval = max_weight, interval, measure_interval
        # Whether to measure the gradients of the current iteration.
        self._is_measurement_due = False
        # The stance of the compiler in the forward pass of a measurement.
        self._stance: Any = None
        # The gradient norms of the current iteration: (weighted distillation loss, all other losses).
        self._gradient_norms: Tensor | None = None
        # The moving averages: (unweighted distillation loss, all other losses).
        self._averages: Tensor | None = None
        self._loaded_state: dict[str, float] | None = None

    def before_train(self, runner: Runner) -> None:
        """Verify the loss before the first step, and restore the state of a resumed training.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ConfigValueError: The loss weight is not positive, or the base class rejects the loss.
        """
        if self.loss == _DEFAULT_LOSS and getattr(distiller_of(runner, self), 'norm_losses', None) == []:
            runner.logger.info(
                'LipschitzBalanceHook: no loss of this distillation compares spectral norms, so no weight is set.'
            )
            return
        super().before_train(runner)
        loss = self.loss_module(runner)
        if not loss.loss_weight > 0:
            raise ConfigValueError(
                f'LipschitzBalanceHook: {self.loss!r} has loss_weight={loss.loss_weight!r}, so that its share cannot be '
                'measured: set a positive initial weight, or remove the loss.'
            )
        runner.logger.info(
            f'LipschitzBalanceHook keeps {self.loss} at a share of {self.share:g} of the {_TOTALS[self.measure]}; its loss_weight, '
            f'{float(loss.loss_weight):g}, is that of the first iteration only.'
        )
        if self._loaded_state is not None:
            self._restore_state(loss, self._loaded_state)
            self._loaded_state = None
        if self.measure == 'gradient':
            model = unwrapped_model(runner)
            model.register_forward_pre_hook(self._force_eager)
            model.register_forward_hook(self._measure_gradients, always_call=True)

    def _restore_state(self, loss: Any, state: dict[str, float]) -> None:
        # A tensor, as in an uninterrupted training: under autocast the type of the product depends on it.
        loss.loss_weight = torch.tensor(state['weight'])
        averages = torch.tensor([state['term'], state['rest']])
        self._averages = averages if averages.isfinite().all() else None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Determine whether to measure gradients in the next forward pass.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch; not used.
            data_batch (object): The batch; not used.
        """
        iteration = runner.iter
        is_power_of_two = iteration & (iteration - 1) == 0
        is_early = iteration < self.measure_interval
        self._gradient_norms = None
        self._is_measurement_due = iteration % self.measure_interval == 0 or (is_early and is_power_of_two)

    def _force_eager(self, model: Any, inputs: Any) -> None:
        """Let the forward pass run without compilation, whose graph does not show which parameters a loss reaches."""
        if self._is_measurement_due and torch.is_grad_enabled():
            self._stance = torch.compiler.set_stance('force_eager')

    def _measure_gradients(self, model: Any, inputs: Any, losses: Any) -> None:
        """Measure the gradient norms of the losses that a forward pass of the model returned, None if it failed."""
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        name = f'distill.{self.loss}'
        if not self._is_measurement_due or not torch.is_grad_enabled():
            return
        if not isinstance(losses, dict) or name not in losses:
            return
        parameters = [parameter for parameter in model.student.parameters() if parameter.requires_grad]
        term, _ = model.parse_losses({name: losses[name]})
        rest, _ = model.parse_losses({key: value for key, value in losses.items() if key != name})
        # If there is no other loss, their sum is the number 0.
        if not (parameters and term.requires_grad and torch.as_tensor(rest).requires_grad):
            return
        term_gradients = torch.autograd.grad(_GRADIENT_SCALE * term, parameters, retain_graph=True, allow_unused=True)
        reached = [parameter for parameter, grad in zip(parameters, term_gradients, strict=True) if grad is not None]
        if not reached:
            return
        rest_gradients = torch.autograd.grad(_GRADIENT_SCALE * rest, reached, retain_graph=True, allow_unused=True)
        norms = [_total_norm(gradients, reached[0]) for gradients in (term_gradients, rest_gradients)]
        self._gradient_norms = torch.stack(norms) / _GRADIENT_SCALE

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict[str, Tensor] | None = None
    ) -> None:
        """Set the weight of the next iteration.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in the epoch; not used.
            data_batch (object): The batch; not used.
            outputs (dict[str, Tensor], optional): The losses of the iteration by name.
        """
        if outputs is None or f'distill.{self.loss}' not in outputs:
            return
        measurement = self._take_measurement(outputs)
        if measurement is None:
            return
        all_reduce(measurement, op='mean')
        loss = self.loss_module(runner)
        weight = torch.as_tensor(loss.loss_weight, dtype=torch.float32, device=outputs['loss'].device)
        loss.loss_weight = self._update(torch.stack([measurement[0] / weight, measurement[1]]), weight)
        if self.measure == 'gradient' or self.every_n_train_iters(runner, self.interval):
            hub = runner.message_hub
            hub.update_scalar(f'train/weight_{self.loss}', float(loss.loss_weight))
            hub.update_scalar(f'train/share_{self.loss}', float(measurement[0] / measurement.sum()))

    def _take_measurement(self, outputs: dict[str, Tensor]) -> Tensor | None:
        """Return the measurement of the iteration, (weighted distillation loss, all other losses); None if none is due.

        Whether it is due depends on the iteration alone, so that all ranks take part in the reduction. A rank without a
        measurement contributes NaN, for which no rank changes the weight.
        """
        if self.measure == 'loss':
            term, total = outputs[f'distill.{self.loss}'].detach().float(), outputs['loss'].detach().float()
            return torch.stack([term, total - term])
        if not self._is_measurement_due:
            return None
        norms, self._gradient_norms = self._gradient_norms, None
        return outputs['loss'].new_full((2,), torch.nan, dtype=torch.float32) if norms is None else norms.float()

    def _update(self, unweighted: Tensor, weight: Tensor) -> Tensor:
        """Update the averages with (unweighted distillation loss, all other losses) and return the next weight.

        Invalid values are masked out and the weight stays a tensor, so that a GPU is not synchronized.
        """
        averages = unweighted if self._averages is None else self._averages.to(unweighted)
        is_valid = (unweighted.isfinite() & (unweighted > 0)).all()
        smoothed = averages + (unweighted - averages) * (1 - self.momentum)
        self._averages = torch.where(is_valid, torch.where((averages > 0).all(), smoothed, unweighted), averages)
        term, rest = self._averages
        target = self.share / (1 - self.share) * rest / term
        if self.max_weight is not None:
            target = target.clamp(max=self.max_weight)
        return torch.where(is_valid & target.isfinite() & (target > 0), target, weight)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the state to the checkpoint as plain numbers.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict[str, Any]): The checkpoint that is about to be saved.
        """
        if self._averages is not None:
            term, rest = self._averages.tolist()
            state = dict(weight=float(self.loss_module(runner).loss_weight), term=term, rest=rest)
            checkpoint.setdefault('lipschitz_balance', {})[self.loss] = state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the state of a resumed training for :meth:`before_train`.

        Args:
            runner (Runner): The runner of the training. If it only loads weights, the state is ignored.
            checkpoint (dict[str, Any]): The loaded checkpoint.
        """
        if runner._resume:
            self._loaded_state = checkpoint.get('lipschitz_balance', {}).get(self.loss)


def _total_norm(gradients: tuple[Tensor | None, ...], parameter: Tensor) -> Tensor:
    """Return the norm of all gradients together; without any, 0 on the device of a parameter."""
    norms = [gradient.norm() for gradient in gradients if gradient is not None]
    return torch.stack(norms).norm() if norms else parameter.new_zeros(())
