"""Print a config with the losses of its distiller expanded into MMRazor's recorders, connectors and losses.

A training from the printed config has the same losses. A config without a distiller is printed as it is.
"""

import contextlib
import sys
from collections.abc import Sequence

from mmengine.config import Config

from lckd_mm.analysis.configs import load_config

from .parser import VerbParser, add_config_arguments

EXAMPLES = {
    'write the expanded config to a file, which `train` accepts': '{prog} lckd_mm::voc/lckd_faster_rcnn.py > expanded.py',
    'with another strength of the Lipschitz loss': (
        '{prog} lckd_mm::voc/lckd_faster_rcnn.py --cfg-options default_hooks.lipschitz_balance.share=0.2'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    add_config_arguments(parser)
    args = parser.parse(arguments)
    # mmengine logs to standard output, which is to contain only the config.
    with contextlib.redirect_stdout(sys.stderr):
        cfg = load_config(args.config, args.cfg_options)
        expand_losses(cfg)
        text = cfg.pretty_text
    print(text)


def expand_losses(cfg: Config) -> None:
    """Replace ``model.distiller.losses`` by connectors, losses, mappings and recorders; other configs stay as they are.

    Args:
        cfg (Config): The config, which is changed.

    Example:
        >>> distiller = dict(type='LipschitzDistiller', taps=['backbone.layer1', 'backbone.layer2'], losses=['lipschitz'])
        >>> cfg = Config(dict(model=dict(type='LipschitzDistill', distiller=distiller)))
        >>> expand_losses(cfg)
        >>> list(cfg.model.distiller.distill_losses)
        ['loss_lipschitz']
    """
    from lckd_mm.models.presets import expand_distiller

    distiller = (cfg.get('model') or {}).get('distiller')
    if distiller is not None and distiller.get('losses') is not None:
        cfg.model.distiller = expand_distiller(distiller.to_dict())
