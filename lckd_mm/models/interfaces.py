"""Optional capabilities of connectors, losses and recorders, which a :class:`LipschitzDistiller` looks up by name.

A component declares a capability by an attribute or a method; components of MMRazor, which declare none, work as they are.

==================  ====================================  ===================================================================
component           declares                              meaning
==================  ====================================  ===================================================================
connector           ``init_margin(margins)``              receives the OFD margins of its taps: one tensor (1, C, 1, 1), or a
                                                          list of them if the ``recorder`` of its mapping is a list
connector           ``init_channels(student, teacher)``   receives the channel counts of its maps, two lists of int, once the
                                                          models are known
connector, loss     ``accepts_valid_ratios = True``       its ``forward`` takes ``valid_ratios`` (B, 2), the share of height
                                                          and width of each image that is not padding, or None
connector           ``accepts_grids = True``              its ``forward`` takes ``grids``, the height and width of each of its
                                                          maps, see :func:`lckd_mm.spectral.transmitting_spectral_norms`
connector           ``forward_networks(networks,          computes its outputs for the maps of several networks at a time;
                    valid_ratios, grids)``                ``grids`` has one entry per network
loss                ``reports_norms = True``              its inputs are spectral norms (pairs, B), kept for the hooks
loss                ``accepts_half_precision = True``     computes in float32 from half-precision maps; other losses receive
                                                          float32 copies
recorder            ``overwritten()`` and ``copy``        can detect, and prevent, that an in-place operation changes a record
recorder            ``convert_records(convert)``          replaces its records by a function of each, and renews what it knows of
                                                          them; of other recorders, the data buffer is replaced
recorder            ``requires_annotations = True``       has no record in a forward pass without annotations
recorder            ``is_pre_activation = True``          its record precedes the activation that ends the module
==================  ====================================  ===================================================================
"""

from typing import Any

__all__ = [
    'accepts_grids',
    'accepts_half_precision',
    'accepts_valid_ratios',
    'detects_overwriting',
    'is_pre_activation',
    'joins_networks',
    'needs_channels',
    'needs_margins',
    'reports_norms',
    'requires_annotations',
]


def needs_margins(connector: Any) -> bool:
    """Return whether a connector receives OFD margins."""
    return callable(getattr(connector, 'init_margin', None))


def needs_channels(connector: Any) -> bool:
    """Return whether a connector receives the channel counts of its maps."""
    return callable(getattr(connector, 'init_channels', None))


def accepts_valid_ratios(component: Any) -> bool:
    """Return whether the ``forward`` of a connector or a loss takes ``valid_ratios``."""
    return bool(getattr(component, 'accepts_valid_ratios', False))


def accepts_grids(connector: Any) -> bool:
    """Return whether the ``forward`` of a connector takes ``grids``."""
    return bool(getattr(connector, 'accepts_grids', False))


def joins_networks(connector: Any) -> bool:
    """Return whether a connector takes the maps of several networks at a time."""
    for base in type(connector).__mro__:
        # A subclass that overrides `forward` alone is called for each network.
        if 'forward' in vars(base) or 'forward_networks' in vars(base):
            return 'forward_networks' in vars(base)
    return False


def reports_norms(loss: Any) -> bool:
    """Return whether the inputs of a loss are spectral norms."""
    return bool(getattr(loss, 'reports_norms', False))


def accepts_half_precision(loss: Any) -> bool:
    """Return whether a loss computes in float32 from half-precision arguments."""
    return bool(getattr(loss, 'accepts_half_precision', False))


def detects_overwriting(recorder: Any) -> bool:
    """Return whether a recorder can detect that a record was overwritten."""
    return callable(getattr(recorder, 'overwritten', None))


def requires_annotations(recorder: Any) -> bool:
    """Return whether a recorder has no record in a forward pass without annotations."""
    return bool(getattr(recorder, 'requires_annotations', False))


def is_pre_activation(recorder: Any) -> bool:
    """Return whether the record of a recorder precedes the activation that ends the module."""
    return bool(getattr(recorder, 'is_pre_activation', False))
