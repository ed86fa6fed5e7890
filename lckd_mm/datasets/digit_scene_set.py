"""The folder of the demonstration set: handwritten digits in front of photographs, in the layout of PASCAL VOC.

The folder also contains a crop of each digit, in one subfolder per class, for classification. All sources are part of
scikit-learn (1797 digits of 8 x 8 pixels and two photographs), so nothing is downloaded.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import Progress

from lckd_mm.errors import ConfigError

from .digit_scene_maker import DigitSceneMaker
from .digit_scene_settings import SPLITS, DigitSceneSettings
from .voc_writer import FOLDERS, write_crops, write_scene

# A complete set contains this file with its version and settings.
MARKER = 'digit_scenes.json'

# Increment it whenever the same settings give other bytes, so that sets of an older version are replaced.
VERSION = 2


class ConfigFileExistsError(ConfigError, FileExistsError):
    """A file or folder that a configuration names contains something else."""


def make_digit_scenes(
    out_dir: str | Path, settings: DigitSceneSettings | None = None, *, progress: bool = True
) -> bool:
    """Create the demonstration set in a folder, unless the folder contains it already.

    The folder gets its name only when the set is complete. A set with other settings, of an older version or with missing
    files is replaced. If two processes call the function at once, only one of them creates the set.

    Args:
        out_dir (str | Path): The folder of the set. Missing parent folders are created.
        settings (DigitSceneSettings, optional): The options of the set. Defaults to None, the default options.
        progress (bool): Whether to show a progress bar. Defaults to True.

    Returns:
        bool: Whether the set was created by this call.

    Raises:
        ConfigFileExistsError: ``out_dir`` contains files that this function did not create.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> settings = DigitSceneSettings(num_train=1, num_val=1, num_test=1)
        >>> with TemporaryDirectory() as folder:
        ...     [make_digit_scenes(f'{folder}/digits', settings, progress=False) for _ in range(2)]
        [True, False]
    """
    settings = settings or DigitSceneSettings()
    out_dir = Path(out_dir).absolute()
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with _locked(out_dir.parent):
        if _is_complete(out_dir, settings):
            return False
        if out_dir.exists() and not (out_dir / MARKER).is_file() and (out_dir.is_file() or any(out_dir.iterdir())):
            raise ConfigFileExistsError(
                f'{out_dir} is not a digit set, because it contains no {MARKER}: choose another folder, or remove this one.'
            )
        partial = out_dir.with_name(f'.{out_dir.name}.partial')
        shutil.rmtree(partial, ignore_errors=True)
        _write_set(partial, settings, progress)
        if out_dir.exists():
            shutil.rmtree(out_dir)
        partial.rename(out_dir)
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the advisory lock of a folder. It leaves no file behind, and the system releases it if the process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _description(settings: DigitSceneSettings, num_crops: int) -> dict[str, int]:
    return {'version': VERSION, 'num_crops': num_crops, **asdict(settings)}


def _is_complete(folder: Path, settings: DigitSceneSettings) -> bool:
    try:
        description = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    num_images = sum(settings.num_images(split) for split in SPLITS)
    lists = [folder / 'ImageSets' / task / f'{split}.txt' for task in ('Main', 'Segmentation') for split in SPLITS]
    return (
        description == _description(settings, description.get('num_crops'))
        and len(list((folder / 'Crops').glob('*/*/*.png'))) == description['num_crops']
        and all(path.is_file() for path in lists)
        and all(len(list((folder / name).glob(f'*{suffix}'))) == num_images for name, suffix in FOLDERS.items())
    )


def _write_set(folder: Path, settings: DigitSceneSettings, progress: bool) -> None:
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    num_images = num_crops = 0
    with Progress(disable=not progress) as bar:
        task = bar.add_task('Digit scenes', total=sum(settings.num_images(split) for split in SPLITS))
        for split in SPLITS:
            maker = DigitSceneMaker(split, settings)
            names = [f'{num_images + index:06d}' for index in range(settings.num_images(split))]
            num_images += len(names)
            for index, name in enumerate(names):
                scene = maker(index)
                write_scene(folder, name, scene)
                num_crops += write_crops(folder / 'Crops' / split, name, scene)
                bar.advance(task)
            for kind in ('Main', 'Segmentation'):
                (folder / 'ImageSets' / kind).mkdir(parents=True, exist_ok=True)
                (folder / 'ImageSets' / kind / f'{split}.txt').write_text(''.join(f'{name}\n' for name in names))
    (folder / MARKER).write_text(json.dumps(_description(settings, num_crops), indent=2) + '\n')
