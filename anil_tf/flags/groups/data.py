"""Flags that say which data the tasks are drawn from, and what a task looks like."""

from anil_tf.flags.description import Group, boolean, integer, text

DATA = Group(
    "Data: where the tasks come from",
    [
        text(
            "dataset",
            "glyphs",
            "The data set: glyphs (built in, no download), omniglot (Vinyals split), "
            "omniglot_rotated (the same, rotated in test too), "
            "omniglot_background (background/evaluation split), cifar_fs, fc100, "
            "mini_imagenet, sinusoid (regression), image_folder, or tfds:NAME for any TFDS "
            "data set with an image and a label.",
            "the name of a data set",
        ),
        text(
            "data_dir",
            None,
            "Where TFDS keeps its data (default: the environment variable TFDS_DATA_DIR, then "
            "TFDS' own default). For --dataset=image_folder: the folder of images, "
            "DIR/{train,validation,test}/CLASS/* or DIR/CLASS/*.",
            "a directory",
        ),
        integer("ways", 5, "Classes in a task.", lower=2),
        integer(
            "training_ways",
            None,
            "Classes in a training task, where they differ from --ways, which then says those of "
            "validation and test. Harder tasks often train better; needs a head that takes any "
            "number, which is all but free. (default: --ways)",
            lower=2,
        ),
        integer("shots", 1, "Support examples per class."),
        integer("queries", 15, "Query examples per class."),
        integer("meta_batch_size", 8, "Tasks in a meta-step."),
        integer("seed", 0, "Seed of the weights and of every task that is drawn.", lower=0),
        integer(
            "image_size",
            None,
            "Height and width that images of image_folder and tfds:NAME are resized to; by "
            "default they keep their size, or become 84x84 where sizes differ.",
        ),
        integer(
            "split_seed",
            0,
            "Seed of the class split where none is published (tfds:NAME, and image_folder "
            "without split folders).",
            lower=0,
        ),
        boolean(
            "augment",
            False,
            "Random crop and horizontal flip of training images (colour data only).",
        ),
        boolean(
            "leave_out_small_classes",
            False,
            "Leave out classes with fewer images than shots + queries, with a warning, "
            "instead of stopping.",
        ),
    ],
)
