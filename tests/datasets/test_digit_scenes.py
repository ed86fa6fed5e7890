import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lckd_mm.datasets import CLASSES, DigitSceneMaker, DigitSceneSettings, digit_scenes, make_digit_scenes

SMALL = DigitSceneSettings(seed=3, num_train=6, num_val=3, num_test=3)


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('data') / 'digits'
    assert make_digit_scenes(folder, SMALL, progress=False)
    return folder


def names_of(folder, split, task='Main'):
    return (folder / 'ImageSets' / task / f'{split}.txt').read_text().split()


def test_same_seed_gives_the_same_bytes(made, tmp_path):
    make_digit_scenes(tmp_path / 'again', SMALL, progress=False)
    assert bytes_of(tmp_path / 'again') == bytes_of(made)


def test_another_seed_gives_other_scenes():
    one, other = (DigitSceneMaker('train', DigitSceneSettings(seed=seed))(0) for seed in (0, 1))
    assert not np.array_equal(one.image, other.image)


def test_scene_does_not_depend_on_how_many_there_are():
    few, many = (DigitSceneMaker('val', DigitSceneSettings(num_train=count, num_val=count))(4) for count in (5, 500))
    assert np.array_equal(few.image, many.image)


def test_layout_is_that_of_voc(made):
    splits = [names_of(made, split) for split in ('train', 'val', 'test')]
    assert [len(names) for names in splits] == [6, 3, 3]
    names = sorted(name for names in splits for name in names)
    assert len(set(names)) == 12
    for folder, suffix in (('JPEGImages', 'jpg'), ('Annotations', 'xml'), ('SegmentationClass', 'png')):
        assert sorted(path.name for path in (made / folder).iterdir()) == [f'{name}.{suffix}' for name in names]
    for split in ('train', 'val', 'test'):
        assert names_of(made, split, 'Segmentation') == names_of(made, split)


def test_every_digit_has_a_crop_in_its_classes_folder(made):
    for split in ('train', 'val', 'test'):
        wanted = []
        for name in names_of(made, split):
            root = ElementTree.parse(made / 'Annotations' / f'{name}.xml').getroot()
            wanted += [f'{e.findtext("name")}/{name}_{i}.png' for i, e in enumerate(root.iter('object'))]
        found = [
            path.relative_to(made / 'Crops' / split).as_posix() for path in (made / 'Crops' / split).rglob('*.png')
        ]
        assert sorted(found) == sorted(wanted)
        with Image.open(made / 'Crops' / split / wanted[0]) as crop:
            assert (crop.size, crop.mode) == ((16, 16), 'RGB')


@pytest.mark.parametrize('box', [(40, 40, 59, 69), (0, 0, 9, 29), (90, 70, 99, 79)])
def test_a_crop_shows_the_whole_box_and_lies_inside_the_image(box):
    x1, y1, x2, y2 = box
    image = np.zeros((80, 100, 3), np.uint8)
    image[y1 : y2 + 1, x1 : x2 + 1] = 255
    crop = np.asarray(digit_scenes.crop_digit(image, box)) / 255
    side = round(1.3 * max(x2 - x1 + 1, y2 - y1 + 1))
    assert crop[..., 0].sum() * (side / 16) ** 2 == pytest.approx((x2 - x1 + 1) * (y2 - y1 + 1), rel=0.05)


def test_a_set_that_lost_a_crop_is_made_again(tmp_path):
    make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert not make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    next((tmp_path / 'set' / 'Crops').rglob('*.png')).unlink()
    assert make_digit_scenes(tmp_path / 'set', SMALL, progress=False)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_boxes_tightly_enclose_the_pixels_of_their_digit(split):
    maker = DigitSceneMaker(split, SMALL)
    for index in range(20):
        scene = maker(index)
        assert 1 <= len(scene.objects) <= SMALL.max_digits
        left_over = (scene.mask > 0) & (scene.mask != digit_scenes.VOID)
        for label, (x1, y1, x2, y2) in scene.objects:
            inside = scene.mask[y1 : y2 + 1, x1 : x2 + 1] == 1 + label
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            left_over[y1 : y2 + 1, x1 : x2 + 1] &= ~inside
        assert not left_over.any()


def test_masks_on_disk_agree_with_the_annotations(made):
    for path in sorted((made / 'Annotations').iterdir()):
        root = ElementTree.parse(path).getroot()
        with Image.open(made / 'SegmentationClass' / f'{path.stem}.png') as picture:
            assert picture.mode == 'P'
            assert picture.getpalette()[3:6] == [128, 0, 0]  # VOC's first class
            mask = np.array(picture)
        with Image.open(made / 'JPEGImages' / f'{path.stem}.jpg') as picture:
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
        assert np.array_equal(in_boxes, np.where(mask == digit_scenes.VOID, 0, mask))


def test_no_digit_is_in_two_splits():
    parts = digit_scenes.split_digits(seed=0)
    everything = np.concatenate([parts[split] for split in ('train', 'val', 'test')])
    assert sorted(everything) == list(range(1797))
    for split in parts:
        assert set(DigitSceneMaker(split, DigitSceneSettings()).labels) == set(range(10))


def test_training_never_sees_the_part_of_the_photographs_that_val_and_test_see():
    train, val, test = (DigitSceneMaker(split, SMALL).photographs for split in ('train', 'val', 'test'))
    for left, right, right_too in zip(train, val, test):
        assert left.shape[1] + right.shape[1] == 640
        assert np.array_equal(right, right_too)


def test_second_call_does_nothing(made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob('*')}
    assert not make_digit_scenes(made, SMALL, progress=False)
    assert {path: path.stat().st_mtime_ns for path in made.rglob('*')} == before


def test_other_settings_or_another_version_remake_the_set(tmp_path, monkeypatch):
    make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    other = DigitSceneSettings(seed=4, num_train=2, num_val=1, num_test=1)
    assert make_digit_scenes(tmp_path / 'set', other, progress=False)
    assert len(names_of(tmp_path / 'set', 'train')) == 2
    monkeypatch.setattr(digit_scenes, 'VERSION', digit_scenes.VERSION + 1)
    assert make_digit_scenes(tmp_path / 'set', other, progress=False)
    assert json.loads((tmp_path / 'set' / digit_scenes.MARKER).read_text())['version'] == digit_scenes.VERSION


def test_interrupted_generation_leaves_nothing_half_made_and_is_repaired(made, tmp_path, monkeypatch):
    write_scene = digit_scenes._write_scene

    def interrupted(folder, name, *args):
        if name == '000004':
            raise KeyboardInterrupt
        write_scene(folder, name, *args)

    with monkeypatch.context() as patch:
        patch.setattr(digit_scenes, '_write_scene', interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert not (tmp_path / 'set').exists()
    assert make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert bytes_of(tmp_path / 'set') == bytes_of(made)
    assert [path.name for path in tmp_path.iterdir()] == ['set']


@pytest.mark.parametrize('lost', ['JPEGImages/000002.jpg', 'ImageSets/Main/val.txt', 'SegmentationClass/000011.png'])
def test_set_that_lost_a_file_is_remade(made, tmp_path, lost):
    make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    (tmp_path / 'set' / lost).unlink()
    assert make_digit_scenes(tmp_path / 'set', SMALL, progress=False)
    assert bytes_of(tmp_path / 'set') == bytes_of(made)


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('chapter one')
    with pytest.raises(FileExistsError, match='something else than a digit set'):
        make_digit_scenes(tmp_path, SMALL, progress=False)
    assert (tmp_path / 'thesis.txt').read_text() == 'chapter one'


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'num_train': 0}, 'num_train must be at least 1, got 0'),
        ({'min_digits': 5, 'max_digits': 4}, r'max_digits must be at least min_digits \(5\), got 4'),
        ({'min_height': 4}, 'wanted 8 <= min_height'),
        ({'image_size': 40}, 'image_size must be at least twice max_height'),
        ({'seed': -1}, 'seed must not be negative'),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DigitSceneSettings(**wrong)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"split must be one of .* got 'training'"):
        DigitSceneMaker('training', SMALL)


def test_mmdet_reads_every_object(made):
    from mmdet.datasets import XMLDataset

    for split in ('train', 'val', 'test'):
        dataset = XMLDataset(
            data_root=str(made),
            ann_file=f'ImageSets/Main/{split}.txt',
            data_prefix={'sub_data_root': ''},
            metainfo={'classes': CLASSES},
            pipeline=[],
        )
        maker = DigitSceneMaker(split, SMALL)
        assert len(dataset) == SMALL.num_images(split)
        for index, info in enumerate(dataset):
            read = [(instance['bbox_label'], tuple(instance['bbox'])) for instance in info['instances']]
            assert read == [tuple(thing) for thing in maker(index).objects]
            assert Path(info['img_path']).is_file()
