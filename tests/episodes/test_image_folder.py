"""A user's own images."""

import numpy as np
import pytest
from PIL import Image

from anil_tf.episodes import DataError, load

SETTINGS = dict(ways=2, shots=1, queries=1, meta_batch_size=1, seed=0)


def load_folder(folder, split="train", **changes):
    return load("image_folder", split=split, data_dir=str(folder), **(SETTINGS | changes))


def error_of(folder, **changes):
    with pytest.raises(DataError) as caught:
        load_folder(folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_split_folders_are_taken_as_they_are_with_files_of_every_kind(tmp_path, write_images):
    suffixes = iter([".png", ".bmp", ".gif", ".jpg", ".JPEG", ".webp"])
    for split, names in (("train", "ab"), ("val", "cd"), ("test", "ef")):
        for name in names:
            write_images(tmp_path / split / name, 3, suffix=next(suffixes))
    for split, names in (("train", "ab"), ("validation", "cd"), ("test", "ef")):
        tasks = load_folder(tmp_path, split)
        assert tasks.class_names == tuple(names)
        assert tasks.image_shape == (6, 8, 3)
        assert tasks.source.sizes.tolist() == [3, 3]


def test_the_pixels_are_those_of_the_files(tmp_path, write_images):
    for name in ("a", "b"):
        write_images(tmp_path / "train" / name, 3)
    images = load_folder(tmp_path).source.images.numpy()
    files = sorted((tmp_path / "train").glob("*/*.png"))
    np.testing.assert_array_equal(images, [np.asarray(Image.open(path)) for path in files])


def test_photographs_are_turned_upright(tmp_path):
    upright = np.zeros((6, 8), np.uint8)
    upright[:3, :2] = 255  # a bright corner at the top left
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(2):
            exif = Image.Exif()
            exif[0x0112] = 6  # a camera held upright: turn clockwise to show
            image = Image.fromarray(np.rot90(upright))
            image.save(tmp_path / "train" / name / f"{number}.jpg", exif=exif, quality=100)
    tasks = load_folder(tmp_path)
    assert tasks.image_shape == (6, 8, 1)
    shown = tasks.source.images.numpy()[..., 0].astype(int)
    np.testing.assert_allclose(shown, np.broadcast_to(upright, (4, 6, 8)), atol=60)


def test_class_folders_are_split_by_the_split_seed_not_the_episode_seed(tmp_path, write_images):
    for number in range(12):
        write_images(tmp_path / f"class{number}", 2)
    parts = [
        load_folder(tmp_path, split, seed=seed).class_names
        for split, seed in (("train", 0), ("validation", 1), ("test", 2))
    ]
    assert [len(part) for part in parts] == [8, 2, 2]
    assert len({name for part in parts for name in part}) == 12
    moved = load_folder(tmp_path, split_seed=1)
    assert moved.class_names != parts[0]
    assert "split by seed 1" in moved.split_description


def test_images_of_several_sizes_become_one_size_in_all_splits(tmp_path, write_images):
    for name in "ab":
        write_images(tmp_path / "train" / name, 2, size=(8, 8), mode="L")
        write_images(tmp_path / "test" / name, 2, size=(9, 9), mode="RGB")
    for split in ("train", "test"):
        assert load_folder(tmp_path, split).image_shape == (84, 84, 3)
    assert load_folder(tmp_path, image_size=12).image_shape == (12, 12, 3)


def test_grey_images_stay_grey(tmp_path, write_images):
    for name in "ab":
        write_images(tmp_path / "train" / name, 2, mode="L")
    assert load_folder(tmp_path).image_shape == (6, 8, 1)


def test_new_images_are_seen_by_the_next_load(tmp_path, write_images):
    for name in "ab":
        write_images(tmp_path / "train" / name, 2)
    assert load_folder(tmp_path).source.sizes.tolist() == [2, 2]
    write_images(tmp_path / "train" / "a", 5)
    assert load_folder(tmp_path).source.sizes.tolist() == [5, 2]


@pytest.mark.parametrize("content", [b"", b"not an image", "truncated"])
def test_a_corrupt_image_is_named(tmp_path, write_images, content):
    for name in "ab":
        write_images(tmp_path / "train" / name, 2, size=(50, 50))
    path = tmp_path / "train" / "b" / "001.png"
    path.write_bytes(path.read_bytes()[:2000] if content == "truncated" else content)
    message = error_of(tmp_path)
    assert str(path) in message
    assert "not a readable image" in message


def test_a_folder_that_lacks_something_is_said(tmp_path, write_images):
    assert "is not a directory" in error_of(tmp_path / "missing")
    with pytest.raises(DataError, match="needs --data_dir"):
        load("image_folder", split="train", **SETTINGS)
    assert "holds no class" in error_of(tmp_path)
    for folder in ("train", "flat"):
        write_images(tmp_path / folder / "cat", 5)
        assert "holds one class (cat)" in error_of(
            tmp_path if folder == "train" else tmp_path / folder
        )
    write_images(tmp_path / "train" / "dog", 2)
    assert "no folder of classes for test" in error_of(tmp_path, split="test")
