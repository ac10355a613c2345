"""What `MetaLearner.adapt` returns: a classifier, or a function, that was learned from a few examples."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from anil_tf.config.heads import names_of
from anil_tf.models.normalization import Statistics

# Images per pass of `predict`: bounds memory, whatever the number of images.
_CHUNK = 256


class TaskState(NamedTuple):
    """What adaptation leaves behind: all that predictions on new images need beside the body.

    Attributes:
        tensors: the adapted tensors of the head, w_N.
        body_statistics: of the body's batch normalisation, each mean and variance [channels].
        head_statistics: of the head's, likewise.
    """

    tensors: list[tf.Tensor]
    body_statistics: Statistics
    head_statistics: Statistics


class AdaptedRegressor:
    """Answers new inputs with numbers. It keeps the adapted head, and uses the body that the learner has."""

    def __init__(self, functions: AdaptationFunctions, state: TaskState):
        """Made by `MetaLearner.adapt`."""
        self._functions = functions
        self._state = state

    def predict(self, inputs: Any) -> np.ndarray:
        """Returns outputs, float [count, dimensions], of inputs [count, ...] or of a single one."""
        inputs = self._functions.check(inputs)
        chunks = [inputs[i : i + _CHUNK] for i in range(0, len(inputs), _CHUNK)]
        return np.concatenate([self._functions.answer(chunk, self._state) for chunk in chunks])


class AdaptedClassifier:
    """Names the classes of new images. It keeps the adapted head, and uses the body that the learner has.

    Attributes:
        classes: the labels given to `adapt`, sorted; column c of every prediction belongs to `classes[c]`.
    """

    def __init__(self, functions: AdaptationFunctions, state: TaskState, classes: np.ndarray):
        """Made by `MetaLearner.adapt`."""
        self._outputs = AdaptedRegressor(functions, state)
        self.classes = classes

    def predict(self, images: Any) -> np.ndarray:
        """Returns class probabilities for one image or many.

        Args:
            images: [count, height, width, channels] or a single [height, width, channels], pixels 0..255.

        Returns:
            Probabilities, float32 [count, ways]; for a single image, [1, ways].

        Raises:
            ValueError: for images of another shape than the body takes.
        """
        return keras.ops.convert_to_numpy(keras.ops.softmax(self.predict_logits(images)))

    def predict_logits(self, images: Any) -> np.ndarray:
        """Returns logits [count, ways]; see `predict`."""
        return self._outputs.predict(images)

    def classify(self, images: Any) -> np.ndarray:
        """Returns the most probable label of each image, [count]; see `predict`."""
        return self.classes[np.argmax(self.predict_logits(images), axis=-1)]


class AdaptationFunctions:
    """The two steps of adaptation and prediction, compiled once for any number of images, examples and ways."""

    def __init__(self, learner: Any, normalization: str):
        """Compiles the two steps of a learner.

        Args:
            learner: a `MetaLearner`.
            normalization: "support" or "running".
        """
        self._image_shape = tuple(learner.body.input_shape[1:])
        self._classifies = learner.inner_loss == "cross_entropy"
        rows = self._rows = learner.adapted_head.rows
        images = tf.TensorSpec([None, *self._image_shape], tf.float32)
        classes = tf.TensorSpec([None], tf.int32)
        labels = classes if self._classifies else tf.TensorSpec([None, None], tf.float32)

        @tf.function(input_signature=[images, labels, tf.TensorSpec([], tf.int32)])
        def adapt(support: tf.Tensor, targets: tf.Tensor, ways: tf.Tensor) -> TaskState:
            return learner.task_state(support, targets, rows or ways, normalization)

        outputs = adapt.get_concrete_function().structured_outputs
        state = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), outputs)

        @tf.function(input_signature=[images, state])
        def answer(images: tf.Tensor, state: TaskState) -> tf.Tensor:
            return learner.answer(images, state, normalization)

        self.adapt, self.answer = adapt, answer

    def check(self, images: Any) -> np.ndarray:
        """Returns images as a float32 batch, or says what is wrong with them."""
        images = np.asarray(images, dtype=np.float32)
        if images.shape == self._image_shape:
            images = images[None]
        if images.shape[1:] != self._image_shape or len(images) == 0:
            raise ValueError(
                f"Expected images of shape [count, {', '.join(map(str, self._image_shape))}] with a count of 1 or "
                f"more. Received: {list(images.shape)}. Resize them to what the body was built for."
            )
        return images

    def adapt_to(
        self, support_images: Any, support_labels: Any
    ) -> AdaptedClassifier | AdaptedRegressor:
        """Does the work of `MetaLearner.adapt`; see there."""
        images, labels = self.check(support_images), np.asarray(support_labels)
        if len(labels) != len(images):
            raise ValueError(
                f"Expected one label per image. Received: {len(images)} images and {len(labels)} labels."
            )
        if not self._classifies:
            targets = labels.reshape(len(labels), -1).astype(np.float32)
            return AdaptedRegressor(self, self.adapt(images, targets, targets.shape[1]))
        classes, indices = np.unique(labels, return_inverse=True)
        self._check_classes(classes)
        state = self.adapt(images, indices.astype(np.int32), len(classes))
        return AdaptedClassifier(self, state, classes)

    def _check_classes(self, classes: np.ndarray) -> None:
        if self._rows is not None and len(classes) != self._rows:
            raise ValueError(
                f"A free head has one learned row per class, {self._rows} here. Received: {len(classes)} classes. "
                f"Train with head_initialization={names_of(any_number_of_ways=True)} for any number of classes."
            )
        if len(classes) < 2:
            raise ValueError(
                f"Expected examples of two classes or more. Received: {len(classes)} class, {classes.tolist()}."
            )
