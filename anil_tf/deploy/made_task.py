"""A task made of noise, on which an export is compared with the learner that it is made of."""

import numpy as np

from anil_tf.deploy.formats import Options
from anil_tf.meta_learner import MetaLearner


def made_task(learner: MetaLearner, options: Options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes a task that there is something to learn in: each class is a pattern, seen through noise.

    Without the pattern adaptation would fit noise, and blow the rounding of the last digit up.

    Args:
        learner: for its shape of images, and for whether it predicts classes or numbers.
        options: for ways, shots and queries.

    Returns:
        Support images [ways * shots, ...], their labels, and query images [ways * queries, ...], of the types that an
        export takes.
    """
    random = np.random.default_rng(0)
    shape = tuple(learner.body.input_shape[1:])
    if learner.inner_loss == "squared_error":
        inputs = random.normal(size=[options.shots + options.queries, *shape]).astype(np.float32)
        targets = random.normal(size=[options.shots, learner.head.output_shape[-1]])
        return inputs[: options.shots], targets.astype(np.float32), inputs[options.shots :]
    labels = np.repeat(np.arange(options.ways, dtype=np.int32), options.shots)
    query_labels = np.repeat(np.arange(options.ways), options.queries)
    centre, spread = (128.0, 60.0) if len(shape) == 3 else (0.0, 1.0)
    patterns = random.normal(centre, spread, [options.ways, *shape])

    def images(classes: np.ndarray) -> np.ndarray:
        noisy = patterns[classes] + random.normal(0.0, spread / 2, [len(classes), *shape])
        return np.clip(noisy, 0, 255).astype(np.uint8) if len(shape) == 3 else noisy.astype("f4")

    return images(labels), labels, images(query_labels)
