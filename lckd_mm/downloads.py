"""Downloads of checkpoints, verified by the hash in their names."""

import datetime
import hashlib
import http.client
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urlparse

import torch

from .checkpoint import CheckpointError, UnreadableCheckpointError
from .errors import ConfigRuntimeError

__all__ = ['download', 'hash_in_name', 'read_download']

Content = TypeVar('Content')


def hash_in_name(name: str) -> str | None:
    """Return the beginning of the SHA-256 hash that the name of a published file contains.

    OpenMMLab's tool ``publish_model.py``, torchvision and timm append the first 8 hexadecimal digits to the name.

    Args:
        name (str): Name of a file.

    Returns:
        str | None: The digits; None if there are none. Eight decimal digits that are a date since 2000 are taken to be one.

    Example:
        >>> hash_in_name('faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth')
        '047c8118'
        >>> hash_in_name('resnet-18.pth'), hash_in_name('model-20200130.pth')
        (None, None)
    """
    match = re.search(r'-([0-9a-f]{8,64})\.[a-z.]+$', name)
    if match is None or (re.match('20', match[1]) and _is_date(match[1])):
        return None
    return match[1]


def _is_date(digits: str) -> bool:
    try:
        datetime.datetime.strptime(digits, '%Y%m%d')
    except ValueError:
        return False
    return True


def download(url: str, folder: str | Path | None = None, progress: bool = True) -> Path:
    """Download a file, unless the folder contains it, and compare it with the hash in its name.

    The file appears under its name when it is complete and verified. A file of an earlier download is verified too.

    Args:
        url (str): The URL.
        folder (str | Path, optional): Target folder. Defaults to None, the cache of ``torch.hub``.
        progress (bool): Whether to show the progress. Defaults to True.

    Returns:
        Path: The file.

    Raises:
        CheckpointError: The content has another hash than its name says.
        ConfigRuntimeError: The file cannot be downloaded.
    """
    folder = Path(folder or os.path.join(torch.hub.get_dir(), 'checkpoints'))
    path = folder / os.path.basename(unquote(urlparse(url).path))
    if path.exists():
        _verify(path, path.name, 'delete the file, and start again to download it.')
        return path
    folder.mkdir(parents=True, exist_ok=True)
    print(f'Downloading: "{url}" to {path}', file=sys.stderr)
    descriptor, partial = tempfile.mkstemp(suffix='.partial', dir=folder)
    os.close(descriptor)
    try:
        # Names with spaces or Unicode; characters with a meaning in URLs stay.
        torch.hub.download_url_to_file(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), partial, None, progress=progress)
        _verify(Path(partial), path.name, f'start again, or download {url} elsewhere and give the path of the file.')
        os.replace(partial, path)
    except (OSError, http.client.HTTPException) as error:
        raise ConfigRuntimeError(
            f'{url} cannot be downloaded ({error}): check the URL; without a network, download it elsewhere and copy it to '
            f'{str(path)!r}, or give a local file in its place (`checkpoint` of the init_cfg, teacher_ckpt or load_from), or '
            'init_cfg=None for random weights.'
        ) from error
    finally:
        Path(partial).unlink(missing_ok=True)
    return path


def _verify(path: Path, name: str, advice: str) -> None:
    expected = hash_in_name(name)
    if expected is None:
        return
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    actual = digest.hexdigest()
    if not actual.startswith(expected):
        where = path if path.name == name else name
        raise CheckpointError(
            f'{where} is not the file that was published: its name contains the hash {expected}, but its content has '
            f'{actual[: len(expected)]}, so that it is damaged, incomplete or was replaced; {advice}'
        )


def read_download(path: Path, read: Callable[[Path], Content]) -> Content:
    """Read a downloaded file; the error for a damaged file advises to delete it.

    Args:
        path (Path): The file.
        read (Callable): Reads the file.

    Returns:
        Content: What ``read`` returns.

    Raises:
        UnreadableCheckpointError: The file is damaged.
    """
    try:
        return read(path)
    except UnreadableCheckpointError as error:
        raise UnreadableCheckpointError(
            f'{str(error).rpartition(";")[0]}; delete {path}, and start again to download it.'
        ) from error
