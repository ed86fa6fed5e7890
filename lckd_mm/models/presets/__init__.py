"""Distillation methods by name: each module of this package registers one preset.

A preset is a pure function from the options of a method to MMRazor's connectors, losses and recorders, and the records of the losses.
A new method is one new file in this package; :mod:`lckd_mm.models.presets.registry` describes what it contains.
"""

import importlib
import pkgutil

from .expansion import check_tap_list, expand_distiller
from .registry import PRESETS, Expansion, register_preset

__all__ = ['PRESETS', 'Expansion', 'check_tap_list', 'expand_distiller', 'register_preset']

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')
