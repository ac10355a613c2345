"""The four functions of an export, on tensors: adapt, predict, adapt_and_predict and embed.

They are `MetaLearner.adapt` and `AdaptedClassifier.predict` with what a caller without this library needs inside:
pixels as uint8 of any size, the check of what is given, and probabilities that a temperature has calibrated
(arXiv:1706.04599). Inputs that are no images (regression on numbers) come as float32, and go as they are.
"""

from typing import Any

import tensorflow as tf

from anil_tf.deploy.formats import SIGNATURES
from anil_tf.deploy.resize import resize
from anil_tf.deploy.state import state_layout
from anil_tf.learner.adapted_classifier import TaskState
from anil_tf.learner.embedding import embed
from anil_tf.meta_learner import MetaLearner
from anil_tf.models.normalization import Moving

_TRANSDUCTIVE = ("adapt_and_predict", "embed")


class Signatures:
    """What an export of a learner computes.

    Attributes:
        classifies: whether labels are classes, and not numbers to predict.
        takes_images: whether inputs are images, uint8 of any height and width.
        layout: the names of the state.
        rows: the only number of classes that a free head takes; None for any.

    Example:
        >>> signatures = Signatures(learner, normalization="support", temperature=1.0)
        >>> state = signatures.adapt(support_images, support_labels)
        >>> signatures.predict(query_images, state)["probabilities"]
    """

    def __init__(self, learner: MetaLearner, *, normalization: str, temperature: float = 1.0):
        """Keeps the learner, changed in nothing.

        Args:
            learner: any `MetaLearner` whose body takes images of one size; a ValueError refuses others.
            normalization: "support", "running", or "episode", under which there is no adapt and no predict.
            temperature: T of softmax(logits / T).
        """
        self._learner, self._normalization = learner, normalization
        self._temperature = temperature
        self._image_shape = tuple(learner.body.input_shape[1:])
        if None in self._image_shape:
            raise ValueError(
                f"An export needs a body for images of one size, received one for {self._image_shape}."
            )
        self.classifies = learner.inner_loss == "cross_entropy"
        self.takes_images = self.classifies and len(self._image_shape) == 3
        self.rows = learner.adapted_head.rows if self.classifies else None
        self.layout = state_layout(learner, normalization)
        if normalization == "episode":
            self._joint = learner.replace(normalization="episode", ways=None)

    @property
    def names(self) -> tuple[str, ...]:
        """Which of the four there are: no embed where all layers adapt, and what `episode` leaves."""
        names = _TRANSDUCTIVE if self._normalization == "episode" else SIGNATURES
        return names if self._learner.body.weights else tuple(n for n in names if n != "embed")

    def specs(self, name: str) -> list[Any]:
        """What the function of this name takes, as `tf.function` wants it."""
        shape = (None, None, self._image_shape[-1]) if self.takes_images else self._image_shape
        kind = tf.uint8 if self.takes_images else tf.float32
        labels = tf.TensorSpec([None], tf.int32, name="support_labels")
        if not self.classifies:
            columns = self._learner.head.output_shape[-1]
            labels = tf.TensorSpec([None, columns], tf.float32, name="support_labels")
        support, queries, images = (
            tf.TensorSpec([None, *shape], kind, name=f"{prefix}images")
            for prefix in ("support_", "query_", "")
        )
        return {
            "adapt": [support, labels],
            "predict": [queries, self.layout.specs()],
            "adapt_and_predict": [support, labels, queries],
            "embed": [images],
        }[name]

    def adapt(self, support_images: tf.Tensor, support_labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Learns a task from its support.

        Args:
            support_images: uint8 [n, height, width, channels].
            support_labels: int32 [n], 0..ways-1, each class with one image or more (regression: float32 [n, k]).

        Returns:
            The state, by the names of `layout`.
        """
        support = self._checked(support_images, support_labels)
        return self.layout.pack(self._task_state(*support))

    def predict(self, query_images: tf.Tensor, state: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Probabilities of the classes of a task.

        Args:
            query_images: uint8 [m, height, width, channels].
            state: what `adapt` returned.

        Returns:
            {"probabilities": float32 [m, ways]} (regression: {"outputs": float32 [m, k]}).
        """
        ways = [
            tf.shape(state[tensor.name])[axis]
            for tensor in self.layout.tensors
            for axis, length in enumerate(tensor.shape)
            if length is None
        ]
        numbers = tf.stack(ways or [0])
        with self._require(
            tf.reduce_all(numbers == numbers[0]),
            "Expected a state of one number of ways, as adapt returns it. Received:",
            numbers,
        ):
            images = self._inputs(query_images)
        logits = self._learner.answer(images, self.layout.unpack(state), self._normalization)
        return self._answers(logits)

    def adapt_and_predict(
        self, support_images: tf.Tensor, support_labels: tf.Tensor, query_images: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """`adapt`, then `predict`, in one call."""
        return self._answers(self.logits(support_images, support_labels, query_images))

    def embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Features of images [n, ...], of no task: batch normalisation by its moving statistics.

        Returns:
            {"features": float32 [n, d]}.
        """
        features, _ = embed(self._learner.body, self._inputs(images), Moving(), dtype="float32")
        return {"features": tf.reshape(features, [-1, features.shape[1:].num_elements()])}

    def logits(
        self, support_images: tf.Tensor, support_labels: tf.Tensor, query_images: tf.Tensor
    ) -> tf.Tensor:
        """What `adapt_and_predict` makes probabilities of, before the temperature: [m, ways]."""
        images, labels, ways = self._checked(support_images, support_labels)
        queries = self._inputs(query_images)
        if self._normalization == "episode":
            inputs = {
                "support_images": images[None],
                "support_labels": labels[None],
                "query_images": queries[None],
            }
            return self._joint(inputs, training=False)[0]
        state = self._task_state(images, labels, ways)
        return self._learner.answer(queries, state, self._normalization)

    def _answers(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(logits, tf.float32)
        if not self.classifies:
            return {"outputs": logits}
        return {"probabilities": tf.nn.softmax(logits / self._temperature)}

    def _inputs(self, images: tf.Tensor) -> tf.Tensor:
        """Images as the body takes them, float32."""
        if not self.takes_images:
            return images
        sides = tf.shape(images)[1:3]
        wanted = "Expected images of 1 pixel or more a side. Received:"
        with self._require(tf.reduce_all(sides > 0), wanted, sides):
            return resize(tf.identity(images), self._image_shape[:2])

    def _checked(
        self, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, int | tf.Tensor]:
        """The support as the learner takes it, and the number of ways, once it is found in order."""
        counts = tf.stack([tf.shape(images)[0], tf.shape(labels)[0]])
        with self._require(
            tf.logical_and(counts[0] == counts[1], counts[0] > 0),
            "Expected one label per support image, of one or more. Received images, labels:",
            counts,
        ):
            labels = tf.identity(labels)
        if not self.classifies:
            return self._inputs(images), labels, int(labels.shape[-1])
        smallest, largest = tf.reduce_min(labels), tf.reduce_max(labels)
        different = tf.size(tf.unique(labels).y)
        if self.rows is None:
            wanted, enough = "0..ways-1 with ways of 2 or more", different > 1
        else:
            wanted = f"0..{self.rows - 1}, as the head has one learned row for each of {self.rows} classes"
            enough = different == self.rows
        consecutive = tf.logical_and(smallest == 0, largest == different - 1)
        with self._require(
            tf.logical_and(consecutive, enough),
            f"Expected support labels {wanted}, each on one image or more. Received smallest, largest, how many "
            "different ones:",
            *(smallest, largest, different),
        ):
            labels = tf.identity(labels)
        ways = tf.reduce_max(labels) + 1 if self.rows is None else self.rows
        return self._inputs(images), labels, ways

    def _task_state(self, images: tf.Tensor, labels: tf.Tensor, ways: int | tf.Tensor) -> TaskState:
        return self._learner.task_state(images, labels, ways, self._normalization)

    def _require(self, condition: tf.Tensor, message: str, *received: tf.Tensor) -> Any:
        """A context in which nothing is computed unless the condition holds."""
        return tf.control_dependencies([tf.debugging.Assert(condition, [message, *received])])
