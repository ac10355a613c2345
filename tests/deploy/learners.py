"""A small learner of each kind, tasks of pixels for it, and what Keras answers."""

import keras
import numpy as np

import anil_tf
from anil_tf.models import compute_in_bfloat16, mlp, split

WAYS = 3

# Every head and algorithm that MetaLearner knows.
SETTINGS = {
    "free": {},
    "zero": {"head_initialization": "zero"},
    "prototype": {"head_initialization": "prototype"},
    "ridge": {"head_initialization": "ridge", "inner_l2": 0.5},
    "nil": {"head_initialization": "nil"},
    "two layers": {"adapted_layers": 2},
    "two layers, prototype": {"adapted_layers": 2, "head_initialization": "prototype"},
    "two layers, nil": {"adapted_layers": 2, "head_initialization": "nil"},
    "MAML": {"adapted_layers": "all"},
    "Meta-SGD": {"adapted_layers": "all", "learned_inner_step_size": "per_variable"},
    "BOIL": {"adapted_layers": "all", "frozen_in_adaptation": "head"},
    "implicit": {"differentiation": "implicit", "inner_l2": 0.5},
    "unrolled": {"differentiation": "unrolled", "inner_l2": 0.1},
    "scalar step size": {"learned_inner_step_size": "scalar", "head_initialization": "zero"},
}


def make_learner(adapted_layers=1, filters=4, **options):
    """On two blocks of Conv4, whose moving statistics are not those of fresh layers."""
    keras.utils.set_random_seed(1)
    tensor = inputs = keras.Input((16, 16, 1))
    tensor = keras.layers.Rescaling(1 / 255)(tensor)
    for _ in range(2):
        tensor = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(tensor)
        tensor = keras.layers.BatchNormalization()(tensor)
        tensor = keras.layers.ReLU()(keras.layers.MaxPooling2D(4)(tensor))
    logits = keras.layers.Dense(WAYS, name="logits")(keras.layers.Flatten()(tensor))
    body, head = split(keras.Model(inputs, logits), adapted_layers)
    learner = anil_tf.MetaLearner(body, head, **({"inner_steps": 2} | options))
    rng = np.random.default_rng(3)
    for variable in learner.non_trainable_variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.2, 0.9, variable.shape))
    return learner


def learner_of(kind):
    return make_learner(**SETTINGS[kind])


def mixed_precision_learner():
    learner = learner_of("prototype")
    compute_in_bfloat16(learner.body)
    return learner


def regression_learner():
    keras.utils.set_random_seed(1)
    body, head = split(mlp(input_shape=(1,), classes=1), 1)
    return anil_tf.MetaLearner(
        body, head, inner_steps=2, inner_step_size=0.01, inner_loss="squared_error"
    )


def pixels(side=16, ways=WAYS, shots=2, queries=4, channels=1, seed=0):
    """Support images, labels and query images of a task whose classes are patterns seen through noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.uniform(0, 255, (ways, side, side, channels))
    labels = np.repeat(np.arange(ways), shots).astype(np.int32)
    noisy = lambda classes: (  # noqa: E731
        patterns[classes] + rng.normal(0, 30, (len(classes), side, side, channels))
    )
    images = lambda classes: np.clip(noisy(classes), 0, 255).astype(np.uint8)  # noqa: E731
    order = rng.permutation(len(labels))
    return images(labels)[order], labels[order], images(rng.integers(0, ways, queries))


def numbers(seed=0):
    """Inputs, targets and further inputs of a regression."""
    rng = np.random.default_rng(seed)
    draw = lambda count: rng.normal(size=(count, 1)).astype(np.float32)  # noqa: E731
    return draw(5), draw(5), draw(7)


def answers_of(learner, support, labels, queries, temperature=1.0, normalization="support"):
    """What Keras answers: probabilities, or the outputs of a regression."""
    adapted = learner.adapt(support, labels, normalization=normalization)
    if learner.inner_loss == "squared_error":
        return adapted.predict(queries)
    logits = adapted.predict_logits(queries) / temperature
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)
