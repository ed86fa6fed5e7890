"""Patch of mmengine's access to the models of a package."""

from collections.abc import Callable
from typing import Any

from ..errors import ConfigKeyError, ConfigValueError
from .patching import patch


@patch(
    ('mmengine.hub', 'mmengine.hub.hub'),
    'get_model',
    library='mmengine',
    versions='>=0.10,<1',
    issue='none known',
    reason="`mmengine.hub.get_model('lckd_mm::path.py')` fails, No module named 'lckd_mm.utils': mmengine builds the model in the scope "
    "'lckd_mm', which no registry has",
    until='mmengine builds the model in the default scope of the config',
)
def mmengine_hub_models(original: Callable[..., Any]) -> Callable[..., Any]:
    """Build the model of a config of lckd_mm as a training builds it."""

    def get_model(cfg_path: str, pretrained: bool = False, **kwargs: Any) -> Any:
        if not cfg_path.startswith('lckd_mm::'):
            return original(cfg_path, pretrained=pretrained, **kwargs)
        from mmengine.hub import get_config
        from mmengine.registry import MODELS, DefaultScope

        if pretrained:
            raise ConfigValueError(
                f'pretrained=True for {cfg_path!r}: lckd_mm publishes no checkpoints; use pretrained=False and load your own.'
            )
        cfg = get_config(cfg_path)
        if 'model' not in cfg:
            raise ConfigKeyError(f'{cfg_path!r} has no `model`: name a config that defines one.')
        if 'data_preprocessor' in cfg:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            return MODELS.build(cfg.model, default_args=kwargs)

    return get_model
