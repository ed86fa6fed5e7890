"""``python -m lckd_mm VERB ARGUMENTS`` runs a verb, wherever lckd_mm is installed."""

import importlib
import re
import sys
from collections.abc import Sequence

from lckd_mm.errors import ConfigKeyError, unknown_name

from .entry import run_verb

# Name of each verb, which is that of its module, and its description.
VERBS = {
    'train': 'train a config',
    'test': 'evaluate a checkpoint',
    'compare': 'train variants with several seeds and compare a metric',
    'taps': 'list the layers of a model that can be tapped',
    'config': 'print a config with the losses in the vocabulary of MMRazor',
    'export': 'write the student of a distillation as a plain checkpoint',
    'gradients': 'measure the gradient of each loss of a distillation',
    'env': 'print the versions of this environment and the commands that install a stack',
    'padding': 'measure the effect of padding on the spectral norms',
    'run': 'run a script, such as the tools/train.py of another project, with lckd_mm registered',
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb that the first argument names.

    Args:
        arguments (Sequence[str], optional): Verb and arguments. Defaults to None, those of the process.
    """
    run_verb(_dispatch, sys.argv[1:] if arguments is None else arguments, 'python -m lckd_mm')


def _dispatch(arguments: Sequence[str] | None, prog: str | None) -> None:
    arguments = list(arguments or [])
    # `torch.distributed.launch -m lckd_mm` puts it before the verb; the environment variable LOCAL_RANK has the same value.
    if arguments and re.match(r'--local[-_]rank=', arguments[0]):
        del arguments[0]
    verb, *rest = arguments or ['--help']
    if verb in ('-h', '--help'):
        print(usage())
        return
    if verb not in VERBS:
        raise ConfigKeyError(unknown_name('verb', verb, VERBS))
    importlib.import_module(f'lckd_mm.cli.{verb}').main(rest, f'{prog} {verb}')


def usage() -> str:
    """Return the help text.

    Returns:
        str: One line per verb.

    Example:
        >>> usage().splitlines()[2]
        '  train      train a config'
    """
    verbs = [f'  {name:10} {description}' for name, description in VERBS.items()]
    return '\n'.join(
        ['usage: python -m lckd_mm VERB ARGUMENTS', '', *verbs, '', 'VERB --help lists the arguments of a verb.']
    )
