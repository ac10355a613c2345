"""Where tasks come from: data sets, class splits and the sampler."""

from anil_tf.episodes.class_images import ClassImages
from anil_tf.episodes.errors import DataError
from anil_tf.episodes.load import load
from anil_tf.episodes.registry import DATASETS
from anil_tf.episodes.tasks import Tasks

__all__ = ["DATASETS", "ClassImages", "DataError", "Tasks", "load"]
