"""A task made of noise, on which an export is compared with the learner that it is made of."""

from typing import NamedTuple

import numpy as np

from anil_tf.deploy.formats import Options
from anil_tf.meta_learner import MetaLearner


class MadeTask(NamedTuple):
    """A task, in the types that an export takes.

    Attributes:
        support_images: uint8 [ways * shots, height, width, channels]; of inputs that are no images float32.
        support_labels: int32 [ways * shots]; of a regression float32 [shots, k].
        query_images: [ways * queries, ...], like those of the support.
        query_labels: [ways * queries], likewise.
    """

    support_images: np.ndarray
    support_labels: np.ndarray
    query_images: np.ndarray
    query_labels: np.ndarray

    @property
    def question(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All but the labels of the queries, which are the answer."""
        return self[:3]


def made_task(learner: MetaLearner, options: Options, *, seed: int = 0) -> MadeTask:
    """Makes a task that there is something to learn in: each class is a pattern, seen through noise.

    Without the pattern adaptation would fit noise, and blow the rounding of the last digit up.
    """
    random = np.random.default_rng(seed)
    shape = tuple(learner.body.input_shape[1:])
    if learner.inner_loss == "squared_error":
        count, columns = options.shots + options.queries, learner.head.output_shape[-1]
        inputs = random.normal(size=[count, *shape]).astype(np.float32)
        targets = random.normal(size=[count, columns]).astype(np.float32)
        of_support, of_queries = slice(options.shots), slice(options.shots, None)
        return MadeTask(
            inputs[of_support], targets[of_support], inputs[of_queries], targets[of_queries]
        )
    classes = np.arange(options.ways, dtype=np.int32)
    labels, query_labels = classes.repeat(options.shots), classes.repeat(options.queries)
    centre, spread = (128.0, 60.0) if len(shape) == 3 else (0.0, 1.0)
    patterns = random.normal(centre, spread, [options.ways, *shape])

    def images(classes: np.ndarray) -> np.ndarray:
        noisy = patterns[classes] + random.normal(0.0, spread / 2, [len(classes), *shape])
        return np.clip(noisy, 0, 255).astype(np.uint8) if len(shape) == 3 else noisy.astype("f4")

    return MadeTask(images(labels), labels, images(query_labels), query_labels)
