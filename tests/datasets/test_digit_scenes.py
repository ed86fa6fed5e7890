import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lckd_mm.datasets import CLASSES, DigitSceneMaker, DigitSceneSettings, digit_scene_set, make_digit_scenes
from lckd_mm.datasets.digit_scene import VOID
from lckd_mm.datasets.digit_scene_maker import split_digits
from lckd_mm.datasets.digit_scene_set import MARKER
from lckd_mm.datasets.voc_writer import crop_digit
from lckd_mm.errors import ConfigError

SMALL = DigitSceneSettings(seed=3, num_train=6, num_val=3, num_test=3)


def file_contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.fixture(scope='module')
def scene_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demonstration set, which tests only read."""
    folder = tmp_path_factory.mktemp('data') / 'digits'
    assert make_digit_scenes(folder, SMALL, progress=False)
    return folder


def image_names(folder: Path, split: str, task: str = 'Main') -> list[str]:
    return (folder / 'ImageSets' / task / f'{split}.txt').read_text().split()


def test_same_seed_gives_the_same_bytes(scene_set: Path, tmp_path: Path) -> None:
    make_digit_scenes(tmp_path / 'again', SMALL, progress=False)
    assert file_contents(tmp_path / 'again') == file_contents(scene_set)


def test_different_seeds_give_different_scenes() -> None:
    first, second = (DigitSceneMaker('train', DigitSceneSettings(seed=seed))(0) for seed in (0, 1))
    assert not np.array_equal(first.image, second.image)


def test_a_scene_does_not_depend_on_the_number_of_images() -> None:
    few, many = (DigitSceneMaker('val', DigitSceneSettings(num_train=count, num_val=count))(4) for count in (5, 500))
    assert np.array_equal(few.image, many.image)


def test_the_layout_is_that_of_voc(scene_set: Path) -> None:
    splits = [image_names(scene_set, split) for split in ('train', 'val', 'test')]
    assert [len(names) for names in splits] == [6, 3, 3]
    names = sorted(name for names in splits for name in names)
    assert len(set(names)) == 12
    for folder, suffix in (('JPEGImages', 'jpg'), ('Annotations', 'xml'), ('SegmentationClass', 'png')):
        assert sorted(path.name for path in (scene_set / folder).iterdir()) == [f'{name}.{suffix}' for name in names]
    for split in ('train', 'val', 'test'):
        assert image_names(scene_set, split, 'Segmentation') == image_names(scene_set, split)


def test_every_digit_has_a_crop_in_the_folder_of_its_class(scene_set: Path) -> None:
    for split in ('train', 'val', 'test'):
        expected = []
        for name in image_names(scene_set, split):
            root = ElementTree.parse(scene_set / 'Annotations' / f'{name}.xml').getroot()
            expected += [f'{e.findtext("name")}/{name}_{i}.png' for i, e in enumerate(root.iter('object'))]
        crops = [
            path.relative_to(scene_set / 'Crops' / split).as_posix()
            for path in (scene_set / 'Crops' / split).rglob('*.png')
        ]
        assert sorted(crops) == sorted(expected)
        with Image.open(scene_set / 'Crops' / split / expected[0]) as crop:
            assert (crop.size, crop.mode) == ((16, 16), 'RGB')


@pytest.mark.parametrize('box', [(40, 40, 59, 69), (0, 0, 9, 29), (90, 70, 99, 79)])
def test_a_crop_shows_the_whole_box_and_lies_inside_the_image(box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = box
    image = np.zeros((80, 100, 3), np.uint8)
    image[y1 : y2 + 1, x1 : x2 + 1] = 255
    crop = np.asarray(crop_digit(image, box)) / 255
    side = round(1.3 * max(x2 - x1 + 1, y2 - y1 + 1))
    assert crop[..., 0].sum() * (side / 16) ** 2 == pytest.approx((x2 - x1 + 1) * (y2 - y1 + 1), rel=0.05)


def test_a_set_with_a_missing_crop_is_replaced(tmp_path: Path) -> None:
    make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert not make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    next((tmp_path / 'set' / 'Crops').rglob('*.png')).unlink()
    assert make_digit_scenes(tmp_path / 'set', SMALL, progress=False)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_boxes_tightly_enclose_the_pixels_of_their_digit(split: str) -> None:
    maker = DigitSceneMaker(split, SMALL)
    for index in range(20):
        scene = maker(index)
        assert 1 <= len(scene.objects) <= SMALL.max_digits
        uncovered = (scene.mask > 0) & (scene.mask != VOID)
        for label, (x1, y1, x2, y2) in scene.objects:
            inside = scene.mask[y1 : y2 + 1, x1 : x2 + 1] == 1 + label
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            uncovered[y1 : y2 + 1, x1 : x2 + 1] &= ~inside
        assert not uncovered.any()


def test_masks_on_disk_agree_with_the_annotations(scene_set: Path) -> None:
    for path in sorted((scene_set / 'Annotations').iterdir()):
        root = ElementTree.parse(path).getroot()
        with Image.open(scene_set / 'SegmentationClass' / f'{path.stem}.png') as picture:
            assert picture.mode == 'P'
            assert picture.getpalette()[3:6] == [128, 0, 0]  # The color of VOC's first class.
            mask = np.array(picture)
        with Image.open(scene_set / 'JPEGImages' / f'{path.stem}.jpg') as picture:
            assert picture.size == (160, 160)
        assert mask.shape == (int(root.find('size/height').text), int(root.find('size/width').text))
        in_boxes = np.zeros_like(mask)
        for element in root.iter('object'):
            x1, y1, x2, y2 = (int(element.find(f'bndbox/{tag}').text) for tag in ('xmin', 'ymin', 'xmax', 'ymax'))
            number = 1 + CLASSES.index(element.find('name').text)
            inside = mask[y1 - 1 : y2, x1 - 1 : x2] == number
            assert inside.any(axis=0)[[0, -1]].all()
            assert inside.any(axis=1)[[0, -1]].all()
            in_boxes[y1 - 1 : y2, x1 - 1 : x2][inside] = number
        assert np.array_equal(in_boxes, np.where(mask == VOID, 0, mask))


def test_no_digit_is_in_two_splits() -> None:
    parts = split_digits(seed=0)
    everything = np.concatenate([parts[split] for split in ('train', 'val', 'test')])
    assert sorted(everything) == list(range(1797))
    for split in parts:
        assert set(DigitSceneMaker(split, DigitSceneSettings()).labels) == set(range(10))


def test_training_uses_other_parts_of_the_photographs_than_validation_and_test() -> None:
    train, val, test = (DigitSceneMaker(split, SMALL).photographs for split in ('train', 'val', 'test'))
    for left, right, test_part in zip(train, val, test, strict=True):
        assert left.shape[1] + right.shape[1] == 640
        assert np.array_equal(right, test_part)


def test_a_second_call_changes_nothing(scene_set: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in scene_set.rglob('*')}
    assert not make_digit_scenes(scene_set, SMALL, progress=False)
    assert {path: path.stat().st_mtime_ns for path in scene_set.rglob('*')} == before


def test_a_set_with_other_settings_or_of_another_version_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    other = DigitSceneSettings(seed=4, num_train=2, num_val=1, num_test=1)
    assert make_digit_scenes(tmp_path / 'set', other, progress=False)
    assert len(image_names(tmp_path / 'set', 'train')) == 2
    monkeypatch.setattr(digit_scene_set, 'VERSION', digit_scene_set.VERSION + 1)
    assert make_digit_scenes(tmp_path / 'set', other, progress=False)
    assert json.loads((tmp_path / 'set' / MARKER).read_text())['version'] == digit_scene_set.VERSION


def test_an_interrupted_call_leaves_no_incomplete_set_and_the_next_call_completes_it(
    scene_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene = digit_scene_set.write_scene

    def interrupted(folder: Path, name: str, *args: Any) -> None:
        if name == '000004':
            raise KeyboardInterrupt
        write_scene(folder, name, *args)

    with monkeypatch.context() as patch:
        patch.setattr(digit_scene_set, 'write_scene', interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert not (tmp_path / 'set').exists()
    assert make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert file_contents(tmp_path / 'set') == file_contents(scene_set)
    assert [path.name for path in tmp_path.iterdir()] == ['set']


@pytest.mark.parametrize('lost', ['JPEGImages/000002.jpg', 'ImageSets/Main/val.txt', 'SegmentationClass/000011.png'])
def test_a_set_with_a_missing_file_is_replaced(scene_set: Path, tmp_path: Path, lost: str) -> None:
    make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    (tmp_path / 'set' / lost).unlink()
    assert make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert file_contents(tmp_path / 'set') == file_contents(scene_set)


def test_a_folder_with_other_files_is_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / 'thesis.txt').write_text('chapter one')
    with pytest.raises(FileExistsError, match='is not a digit set') as error:
        make_digit_scenes(tmp_path, SMALL, progress=False)
    assert isinstance(error.value, ConfigError)
    assert (tmp_path / 'thesis.txt').read_text() == 'chapter one'


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'num_train': 0}, 'num_train=0 is not positive'),
        ({'min_digits': 5, 'max_digits': 4}, 'max_digits=4 is less than min_digits=5'),
        ({'min_height': 4}, 'use 8 <= min_height'),
        ({'image_size': 40}, 'image_size=40 is less than twice max_height=44'),
        ({'seed': -1}, 'seed=-1 is negative'),
    ],
)
def test_invalid_settings_are_rejected(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        DigitSceneSettings(**settings)
    assert isinstance(error.value, ConfigError)


def test_an_unknown_split_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"split 'training' is unknown; valid: 'train', 'val', 'test'"):
        DigitSceneMaker('training', SMALL)


def test_mmdet_reads_every_object_of_the_set(scene_set: Path) -> None:
    from mmdet.datasets import XMLDataset

    for split in ('train', 'val', 'test'):
        dataset = XMLDataset(
            data_root=str(scene_set),
            ann_file=f'ImageSets/Main/{split}.txt',
            data_prefix={'sub_data_root': ''},
            metainfo={'classes': CLASSES},
            pipeline=[],
        )
        maker = DigitSceneMaker(split, SMALL)
        assert len(dataset) == SMALL.num_images(split)
        for index, info in enumerate(dataset):
            read = [(instance['bbox_label'], tuple(instance['bbox'])) for instance in info['instances']]
            assert read == [tuple(digit) for digit in maker(index).objects]
            assert Path(info['img_path']).is_file()
