"""Errors of a data set that name the files of the sample."""

from collections.abc import Callable
from typing import Any

from lckd_mm.errors import ConfigError, ConfigRuntimeError

from .dataset_info import inner_datasets
from .truncated_images import TruncatedImages, truncated_reads

__all__ = ['SampleError', 'name_unreadable_samples']


class SampleError(ConfigRuntimeError):
    """A sample of a data set cannot be prepared.

    A DataLoader raises the exception of a worker process again, with the worker's traceback as its message. The message is
    reduced to the sentence.
    """

    def __init__(self, message: str) -> None:
        marker = f'{type(self).__module__}.{type(self).__qualname__}: '
        super().__init__(message.rpartition(marker)[2].strip())


class _NamedErrors:
    """Replaces the method `prepare_data` of one data set; it can be pickled for worker processes that are not forked."""

    def __init__(self, dataset: Any, truncated: TruncatedImages) -> None:
        self.dataset = dataset
        self.truncated = truncated

    def __call__(self, index: int) -> Any:
        prepare: Callable[[Any, int], Any] = type(self.dataset).prepare_data
        with truncated_reads() as truncated:
            try:
                sample = prepare(self.dataset, index)
            except ConfigError:
                raise
            except Exception as error:
                raise SampleError(_message(self.dataset, index, error, truncated)) from error
        for path in truncated:
            self.truncated.report(path)
        return sample


def _message(dataset: Any, index: int, error: Exception, truncated: list[str]) -> str:
    try:
        info = dataset.get_data_info(index)
    except Exception:
        info = {}
    paths = [repr(info[key]) for key in ('img_path', 'seg_map_path') if isinstance(info.get(key), str)]
    files = ' with the mask '.join(paths) or 'which has no file name'
    reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
    if truncated:
        reason = f'the end of the file {truncated[0]!r} is missing; {reason}'
    return (
        f'sample {index} of the data set, {files}, cannot be prepared ({reason}): replace the file, or remove it from the '
        'list of images.'
    )


def name_unreadable_samples(dataset: Any, truncated: TruncatedImages | None = None) -> None:
    """Let errors of a data set name the image and the mask of the sample; calling it again has no effect.

    For an empty file OpenCV reports '!buf.empty()', and for a damaged mask Pillow reports 'cannot identify image file
    <_io.BytesIO>': neither names the file. A JPEG whose end is missing is read without an error, and is logged.

    Args:
        dataset (Any): A data set, which may be a wrapper that repeats, concatenates or mixes data sets. Only this instance is
            modified. Data sets without the methods of mmengine's `BaseDataset` are not modified.
        truncated (TruncatedImages, optional): Receives the truncated image files that the data set reads. Defaults to an
            object that logs them.
    """
    truncated = TruncatedImages() if truncated is None else truncated
    for inner in inner_datasets(dataset):
        if hasattr(inner, 'prepare_data') and hasattr(inner, 'get_data_info'):
            inner.prepare_data = _NamedErrors(inner, truncated)
