"""Annotated objects that a data set does not load, since their class is not one of its classes."""

import json
import math
import os
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.fileio import list_from_file

from .dataset_info import class_names, inner_datasets

__all__ = ['annotation_files', 'ignored_objects', 'ignored_objects_message']


def annotation_files(dataset: Any, max_xml_files: int | None = None) -> list[tuple[Any, str]]:
    """Return the annotation files of data sets whose loaders ignore objects of other classes.

    These are the VOC and COCO formats of MMDetection, and the VOC format of MMPretrain, in local files.

    Args:
        dataset (Any): A data set, which may be a wrapper of others.
        max_xml_files (int, optional): Maximum number of XML files; of a larger number, equally spaced ones are returned.

    Returns:
        list[tuple[Any, str]]: The innermost data set and the path for each file.

    Example:
        >>> annotation_files([])
        []
    """
    xml_files: list[tuple[Any, str]] = []
    json_files: list[tuple[Any, str]] = []
    for inner in inner_datasets(dataset):
        xml_files += ((inner, path) for path in _xml_paths(inner))
        path = getattr(inner, 'ann_file', None)
        if hasattr(inner, 'cat2label') and isinstance(path, str) and path.endswith('.json') and os.path.isfile(path):
            json_files.append((inner, path))
    step = 1 if max_xml_files is None else max(math.ceil(len(xml_files) / max_xml_files), 1)
    return json_files + xml_files[::step]


def ignored_objects(files: Iterable[tuple[Any, str]]) -> Counter[str]:
    """Count the annotated objects that data sets do not load.

    Args:
        files (Iterable[tuple[Any, str]]): Data sets and annotation files, as :func:`annotation_files` returns them.

    Returns:
        Counter[str]: Number of objects for each class that is not one of the data set's.

    Example:
        >>> ignored_objects([])
        Counter()
    """
    counts: Counter[str] = Counter()
    for dataset, path in files:
        counts.update(_ignored_in_json(dataset, path) if path.endswith('.json') else _ignored_in_xml(dataset, path))
    return counts


def ignored_objects_message(counts: Counter[str], max_listed: int = 8) -> str:
    """Return the sentence that states how many objects are ignored.

    Args:
        counts (Counter[str]): Number of objects for each class.
        max_listed (int): Number of classes that are listed, the most frequent ones. Defaults to 8.

    Returns:
        str: One sentence.

    Example:
        >>> ignored_objects_message(Counter(bus=12, tram=1))
        "13 objects of the classes 'bus' (12), 'tram' (1) are in the annotations, but not in the classes of the data set: ..."
    """
    names = ', '.join(f'{name!r} ({count})' for name, count in counts.most_common(max_listed))
    more = ', ...' if len(counts) > max_listed else ''
    return (
        f'{sum(counts.values())} objects of the classes {names}{more} are in the annotations, but not in the classes of the '
        'data set: they are ignored; to learn them, add them to the classes in the metainfo of the data set.'
    )


def _xml_paths(dataset: Any) -> Iterator[str]:
    """Yield the XML files of all images in the list, also of those that the data set drops as empty."""
    if hasattr(dataset, 'ann_subdir') and hasattr(dataset, 'sub_data_root'):
        image_list, folder = dataset.ann_file, os.path.join(dataset.sub_data_root, dataset.ann_subdir)
    elif getattr(dataset, 'image_set_path', None) and getattr(dataset, 'ann_prefix', None):
        image_list, folder = dataset.image_set_path, dataset.ann_prefix
    else:
        return
    if os.path.isfile(image_list) and os.path.isdir(folder):
        yield from (os.path.join(folder, f'{name}.xml') for name in list_from_file(image_list))


def _ignored_in_xml(dataset: Any, path: str) -> Iterator[str]:
    classes = class_names(dataset)
    if classes is not None and os.path.isfile(path):
        names = (entry.findtext('name') for entry in ElementTree.parse(path).iterfind('object'))
        yield from (name for name in names if name is not None and name not in classes)


def _ignored_in_json(dataset: Any, path: str) -> Iterator[str]:
    with open(path, encoding='utf-8') as file:
        content = json.load(file)
    if not isinstance(content, dict):
        # This is another format than COCO's.
        return
    names = {category['id']: str(category.get('name', category['id'])) for category in content.get('categories') or ()}
    for annotation in content.get('annotations') or ():
        category = annotation.get('category_id')
        if category is not None and category not in dataset.cat2label:
            yield names.get(category, str(category))
