"""Loading of a distillation for measurements."""

from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, DefaultScope

from lckd_mm.checkpoint import load_data
from lckd_mm.errors import ConfigFileNotFoundError, ConfigValueError
from lckd_mm.state_dicts import unwrap_keys

from .configs import load_config


def load_distillation(config: str, checkpoint: str | None = None) -> tuple[Config, BaseModel]:
    """Build a distillation in evaluation mode.

    Args:
        config (str): Config of a distillation, as in :func:`load_config`.
        checkpoint (str, optional): A checkpoint of its training. Defaults to None, the weights at the start of the training.

    Returns:
        tuple[Config, BaseModel]: The config and the model.

    Raises:
        ConfigValueError: The config is not that of a distillation, or the checkpoint is not one of its training.
        ConfigFileNotFoundError: The config or the checkpoint does not exist.
    """
    cfg = load_config(config)
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    if not hasattr(model, 'distiller'):
        raise ConfigValueError(
            f'config {config!r} is not a distillation, but a {type(model).__name__}: use a config whose model has a distiller.'
        )
    model.init_weights()
    if checkpoint is not None:
        try:
            data = load_data(checkpoint)
        except FileNotFoundError as error:
            raise ConfigFileNotFoundError(
                f'checkpoint {checkpoint!r} does not exist: give the path of an existing file.'
            ) from error
        try:
            model.load_state_dict(unwrap_keys(data.get('state_dict', data)))
        except RuntimeError as error:
            reason = ' '.join(str(error).partition(':')[2].split())
            raise ConfigValueError(
                f'checkpoint {checkpoint!r} does not match the distillation {config!r} ({reason[:200]}...): give a checkpoint of a '
                'training with this config, which contains student and adapters.'
            ) from error
    return cfg, model.eval()


def build_dataset(cfg: Config, split: str) -> Any:
    """Build the data set of a data loader.

    Args:
        cfg (Config): The config.
        split (str): ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        Dataset: The data set.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        return DATASETS.build(cfg[f'{split}_dataloader'].dataset)
