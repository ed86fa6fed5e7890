"""Files that write a marker when they are unpickled."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .checkpoints import RunsCode


class MaliciousFiles:
    """Writes files that create ``marker`` when a reader executes what they contain.

    Args:
        folder (Path): Folder of the marker.
    """

    def __init__(self, folder: Path) -> None:
        self.marker = folder / 'executed'

    @property
    def code(self) -> RunsCode:
        return RunsCode(Path.touch, self.marker)

    def checkpoint(self, path: Path, kind: str = 'zip', state: dict[str, Any] | None = None) -> Path:
        """Write a checkpoint with a state dict and code in the state of its optimizer."""
        data = dict(state_dict=state or {}, optimizer=dict(state=self.code), meta=dict(epoch=1, iter=1))
        CHECKPOINTS[kind](data, path)
        return path

    def executes(self, read: Callable[[], Any]) -> bool:
        """Return whether a reader executes the code, and remove the marker."""
        read()
        is_executed = self.marker.exists()
        self.marker.unlink(missing_ok=True)
        return is_executed


def _write_script(data: Any, path: Path) -> None:
    # The code is beside the script, which torch.jit.load would run.
    torch.jit.save(torch.jit.script(torch.nn.Identity()), str(path))


def _write_numpy(data: Any, path: Path) -> None:
    with path.open('wb') as file:
        np.save(file, np.array([data], dtype=object), allow_pickle=True)


CHECKPOINTS: dict[str, Callable[[Any, Path], None]] = {
    'zip': torch.save,
    'legacy': lambda data, path: torch.save(data, path, _use_new_zipfile_serialization=False),
    **{
        f'pickle of protocol {protocol}': lambda data, path, protocol=protocol: path.write_bytes(
            pickle.dumps(data, protocol)
        )
        for protocol in (0, 2, 4, 5)
    },
    'script': _write_script,
    'numpy': _write_numpy,
}
