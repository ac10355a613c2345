"""Loading what training has saved."""

import os

import keras

from anil_tf.meta_learner import MetaLearner


def load(path: str | os.PathLike[str]) -> MetaLearner:
    """Loads the learner of a run, or one that `learner.save` wrote.

    Args:
        path: a model.keras, or the directory of a finished run.

    Returns:
        The learner, not compiled.

    Raises:
        ValueError: for a path that holds neither.

    Example:
        >>> anil_tf.load("runs/quickstart").adapt(my_images, my_labels)  # doctest: +SKIP
    """
    path = os.fspath(path)
    file = os.path.join(path, "model.keras") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise ValueError(f"{path}: expected a model.keras, or the directory of a finished run.")
    learner = keras.saving.load_model(file, compile=False)
    if not isinstance(learner, MetaLearner):
        raise ValueError(f"{path}: expected a MetaLearner, received a {type(learner).__name__}.")
    return learner
