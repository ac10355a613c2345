"""Where the tasks come from, and what a task looks like."""

from __future__ import annotations

import dataclasses

from anil_tf.config.option import Config, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Config):
    """Data: where the tasks come from."""

    dataset: str = option(
        str,
        "glyphs",
        """The data set: glyphs (built in, no download), omniglot (Vinyals split), omniglot_rotated (the same, rotated
        in test too), omniglot_background (background/evaluation split), cifar_fs, fc100, mini_imagenet, sinusoid
        (regression), image_folder, or tfds:NAME for any TFDS data set with an image and a label.""",
        text="the name of a data set",
    )
    data_dir: str | None = option(
        str,
        None,
        """Where TFDS keeps its data (default: the environment variable TFDS_DATA_DIR, then TFDS' own default). For
        --dataset=image_folder: the folder of images, DIR/{train,validation,test}/CLASS/* or DIR/CLASS/*.""",
        text="a directory",
        is_directory=True,
    )
    ways: int = option(int, 5, "Classes in a task.", lower=2)
    training_ways: int | None = option(
        int,
        None,
        """Classes in a training task, where they differ from --ways, which then says those of validation and test.
        Harder tasks often train better; needs a head that takes any number, which is all but free. (default:
        --ways)""",
        lower=2,
    )
    shots: int = option(int, 1, "Support examples per class.")
    queries: int = option(int, 15, "Query examples per class.")
    meta_batch_size: int = option(int, 8, "Tasks in a meta-step.")
    seed: int = option(int, 0, "Seed of the weights and of every task that is drawn.", lower=0)
    image_size: int | None = option(
        int,
        None,
        """Height and width that images of image_folder and tfds:NAME are resized to; by default they keep their size,
        or become 84x84 where sizes differ.""",
    )
    split_seed: int = option(
        int,
        0,
        """Seed of the class split where none is published (tfds:NAME, and image_folder without split folders).""",
        lower=0,
    )
    augment: bool = option(
        bool, False, "Random crop and horizontal flip of training images (colour data only)."
    )
    leave_out_small_classes: bool = option(
        bool,
        False,
        """Leave out classes with fewer images than shots + queries, with a warning, instead of stopping.""",
    )
