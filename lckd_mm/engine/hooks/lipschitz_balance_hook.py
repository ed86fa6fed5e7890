from typing import Any, Dict, Optional

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor, nn

from lckd_mm.spectral.naming import unknown_name

from .distiller import distiller_of

_MOMENTA = {'loss': 0.9, 'gradient': 0.5}
# What gradients are measured with, for those that pass half-precision maps not to vanish; a power of two changes no digit.
_SCALE = 1024.0


@HOOKS.register_module()
class LipschitzBalanceHook(Hook):
    r"""Keep a distillation loss at a wanted share of the total, so that no weight has to be searched for per task.

    After each iteration the weight becomes :math:`\frac{s}{1 - s} \bar r / \bar u`, with s the share, u the loss before its
    weight, r all the other losses, and bars for exponential averages. The paper's ablation reports that accuracy falls
    once the term is more than about 20 % of the total. The weight in the config is that of the first iteration.

    With ``of='gradient'``, u and r are the lengths of the two gradients in the student's parameters that the term reaches,
    instead of the values of the losses: how strongly each pulls at the student, which a value does not tell
    (docs/benchmarks.md). They are measured by two more backward passes, every ``measure_interval`` iterations, and after
    1, 2, 4, 8, ... at first, when they change fastest.

    Where a loss is zero or not finite the weight stays as it is. In a distributed training all ranks use the averages over
    the ranks. The state is in the checkpoints, and a resumed training goes on with it.

    Args:
        share (float): Share of the total, 0 < share < 1. Defaults to 0.1.
        of (str): What of: ``'loss'``, as in the paper, or ``'gradient'``. Defaults to ``'loss'``.
        loss (str): Name in ``distill_losses``. Defaults to ``'loss_lipschitz'``.
        momentum (float, optional): Of the averages over the measurements, 0 <= momentum < 1. Defaults to None: 0.9 for losses,
            which looks back about as far as the ten iterations of mmengine's log do, and 0.5 for gradients, of which few are
            measured.
        max_weight (float, optional): The weight is not raised above it, as it would be while the student's norms come
            to equal the teacher's. Defaults to None, no bound.
        interval (int): Iterations between two readings of weight and share in the log. Defaults to 10.
        measure_interval (int): Iterations between two measurements of gradients. Defaults to 50: two backward passes more
            to 50 steps.

    Raises:
        ValueError: An unknown ``of``, numbers outside those ranges; before training: an unknown loss, or one whose weight is not
            positive.
    """

    # Before the checkpoint is written and the log printed.
    priority = 'NORMAL'

    def __init__(
        self,
        share: float = 0.1,
        of: str = 'loss',
        loss: str = 'loss_lipschitz',
        momentum: Optional[float] = None,
        max_weight: Optional[float] = None,
        interval: int = 10,
        measure_interval: int = 50,
    ) -> None:
        if of not in _MOMENTA:
            raise ValueError(unknown_name('LipschitzBalanceHook: of', of, _MOMENTA))
        if momentum is None:
            momentum = _MOMENTA[of]
        if not 0 < share < 1:
            raise ValueError(f'share={share!r} is no share of the total: give a number between 0 and 1, 0.1 say.')
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum={momentum!r} is outside [0, 1): give 0.9, or 0 for no smoothing.')
        if max_weight is not None and not max_weight > 0:
            raise ValueError(f'max_weight={max_weight!r} must be positive, or None for no bound.')
        for name, value in (('interval', interval), ('measure_interval', measure_interval)):
            if value < 1:
                raise ValueError(f'{name}={value!r} counts iterations: give 1 or more.')
        self.share, self.of, self.loss, self.momentum = share, of, loss, momentum
        self.max_weight, self.interval, self.measure_interval = max_weight, interval, measure_interval
        # Whether the gradients of the iteration at hand are to be measured, and their lengths: (weighted term, the rest).
        self._is_due = False
        self._gradients: Optional[Tensor] = None
        # (term before its weight, the rest), averaged; and what a checkpoint said.
        self._averages: Optional[Tensor] = None
        self._loaded: Optional[Dict[str, float]] = None

    def before_train(self, runner: Runner) -> None:
        """Look the loss up before the first step, and take up the state of a resumed training."""
        losses = distiller_of(runner, self).distill_losses
        if self.loss not in losses:
            raise ValueError(unknown_name('LipschitzBalanceHook: loss', self.loss, losses))
        weight = getattr(losses[self.loss], 'loss_weight', None)
        if weight is None or not weight > 0:
            raise ValueError(
                f'LipschitzBalanceHook: loss_weight={weight!r} of {self.loss!r} leaves nothing to balance: give it a positive '
                'weight to begin with.'
            )
        if self._loaded is not None:
            losses[self.loss].loss_weight = self._loaded['weight']
            self._averages = torch.tensor([self._loaded['term'], self._loaded['rest']])
            if not self._averages.isfinite().all():
                self._averages = None
            self._loaded = None
        if self.of == 'gradient':
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            model.register_forward_hook(self._measure)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Say whether gradients are to be measured in the coming forward pass."""
        iteration = runner.iter
        is_power_of_two = iteration & (iteration - 1) == 0
        self._is_due = iteration % self.measure_interval == 0 or (iteration < self.measure_interval and is_power_of_two)

    def _measure(self, model: nn.Module, inputs: Any, losses: Any) -> None:
        """Measure the gradients of the losses that a forward pass of the model ended with."""
        name = f'distill.{self.loss}'
        if not self._is_due or not torch.is_grad_enabled() or not isinstance(losses, dict) or name not in losses:
            return
        self._is_due = False
        parameters = [parameter for parameter in model.student.parameters() if parameter.requires_grad]
        term, _ = model.parse_losses({name: losses[name]})
        rest, _ = model.parse_losses({key: value for key, value in losses.items() if key != name})
        # Without any other loss, the sum of them is the number 0.
        if not (term.requires_grad and torch.as_tensor(rest).requires_grad):
            return
        of_term = torch.autograd.grad(_SCALE * term, parameters, retain_graph=True, allow_unused=True)
        reached = [parameter for parameter, grad in zip(parameters, of_term) if grad is not None]
        of_rest = torch.autograd.grad(_SCALE * rest, reached, retain_graph=True, allow_unused=True)
        lengths = [torch.stack([g.norm() for g in grads if g is not None]).norm() for grads in (of_term, of_rest)]
        self._gradients = torch.stack(lengths) / _SCALE

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: Optional[Dict[str, Tensor]] = None
    ) -> None:
        """Set the weight of the next iteration."""
        name = f'distill.{self.loss}'
        if outputs is None or name not in outputs:
            return
        loss = distiller_of(runner, self).distill_losses[self.loss]
        weight = torch.as_tensor(loss.loss_weight, dtype=torch.float32, device=outputs['loss'].device)
        if self.of == 'loss':
            term, total = outputs[name].detach().float(), outputs['loss'].detach().float()
            weighted = torch.stack([term, total - term])
        elif self._gradients is not None:
            weighted, self._gradients = self._gradients, None
        else:
            return
        all_reduce(weighted, op='mean')
        found = torch.stack([weighted[0] / weight, weighted[1]])
        # No synchronisation with a GPU: the weight stays a tensor, and what is wrong is masked out.
        averages = found if self._averages is None else self._averages.to(found)
        good = (found.isfinite() & (found > 0)).all()
        moved = torch.where((averages > 0).all(), averages + (found - averages) * (1 - self.momentum), found)
        self._averages = torch.where(good, moved, averages)
        term, rest = self._averages
        wanted = self.share / (1 - self.share) * rest / term
        if self.max_weight is not None:
            wanted = wanted.clamp(max=self.max_weight)
        loss.loss_weight = torch.where(good & wanted.isfinite() & (wanted > 0), wanted, weight)
        if self.of == 'gradient' or self.every_n_train_iters(runner, self.interval):
            hub = runner.message_hub
            hub.update_scalar(f'train/weight_{self.loss}', float(loss.loss_weight))
            hub.update_scalar(f'train/share_{self.loss}', float(weighted[0] / weighted.sum()))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state, plain numbers."""
        if self._averages is not None:
            loss = distiller_of(runner, self).distill_losses[self.loss]
            term, rest = self._averages.tolist()
            state = dict(weight=float(loss.loss_weight), term=term, rest=rest)
            checkpoint.setdefault('lipschitz_balance', {})[self.loss] = state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the state for :meth:`before_train`, unless only the weights are loaded."""
        if runner._resume:
            self._loaded = checkpoint.get('lipschitz_balance', {}).get(self.loss)
