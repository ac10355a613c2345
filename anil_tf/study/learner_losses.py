"""The losses of a learner's tasks, as the theory takes them.

A `MetaLearner` goes from images to query logits. The theory asks for functions: of the head alone, with the features
as constants (`pose`), or of head and body (`task_losses`). All is as in evaluation: no dropout, and the batch
normalisation that evaluation uses.
"""

import tensorflow as tf

from anil_tf.adaptation.losses import LOSSES, inner_loss
from anil_tf.adaptation.problem import Tensors
from anil_tf.learner.inner_loop import PosedProblem, of_support
from anil_tf.meta_learner import MetaLearner
from anil_tf.models.normalization import batch_normalizations
from anil_tf.models.pure_call import pure_call
from anil_tf.theory.task_derivatives import Loss

# Support and query loss of a task as functions of (w, phi), and w and phi.
TaskLosses = tuple[Loss, Loss, Tensors, Tensors]


def pose(learner: MetaLearner, inputs: dict[str, tf.Tensor]) -> PosedProblem:
    """States the support losses of a batch of tasks as functions of the head.

    Args:
        learner: at the weights to look at.
        inputs: what a call of the learner takes, B tasks.

    Returns:
        The inner problem, in closed form for a linear head, whatever the learner's differentiation.
    """
    if learner.differentiation == "unrolled":  # which takes tapes where closed forms exist
        learner = learner.replace(differentiation="explicit")
    return learner.pose({name: tf.convert_to_tensor(part) for name, part in inputs.items()})


def task_losses(
    learner: MetaLearner, inputs: dict[str, tf.Tensor], labels: tf.Tensor, task: int
) -> TaskLosses:
    """States the support and the query loss of one task as functions of head and body.

    Where a head starts at the examples (prototypes), that path is left out: w and phi are free.

    Args:
        learner: at the weights to look at.
        inputs: what a call of the learner takes, B tasks.
        labels: of the queries, [B, n_q].
        task: which of the B.

    Returns:
        support_loss(w, phi), with the inner l2; query_loss(w, phi), without; and the learner's own w and phi: w the
        tensors that the inner loop moves, phi those of the body (and of the head, where it does not move).
    """
    one = {name: tf.convert_to_tensor(part)[task : task + 1] for name, part in inputs.items()}
    posed = learner.pose(one)
    moving, fixed = ([part[0] for part in parts] for parts in (posed.start, posed.fixed))
    body = [tf.convert_to_tensor(variable) for variable in learner.body_variables]
    support, queries = one["support_images"][0], one["query_images"][0]
    everything = tf.concat([support, queries], axis=0)
    count = int(support.shape[0])
    # With batch statistics, support and queries may depend on each other; otherwise half of the images will do.
    together = bool(batch_normalizations(learner.body) or batch_normalizations(learner.head))
    support_labels, query_labels = one["support_labels"][0], tf.convert_to_tensor(labels)[task]

    def logits(w: Tensors, phi: Tensors, images: tf.Tensor, rows: int) -> tuple:
        """Of the support, the first `rows` images, and of the queries; nothing adapts."""
        source = learner.source(rows, training=False)
        images = tf.cast(images, learner.body.variable_dtype)
        features, _ = pure_call(learner.body, phi[: len(body)], images, statistics=source)
        features = tf.cast(features, learner.head.variable_dtype)
        head = learner.inner_loop.whole(w, phi[len(body) :])
        alone, _ = learner.adapted_head(head, features[:rows], of_support(source))
        together, _ = learner.adapted_head(head, features, source)
        return alone, together[rows:]

    def support_loss(w: Tensors, phi: Tensors) -> tf.Tensor:
        outputs, _ = logits(w, phi, everything if together else support, count)
        return inner_loss(outputs, support_labels, w, loss=learner.inner_loss, l2=learner.inner_l2)

    def query_loss(w: Tensors, phi: Tensors) -> tf.Tensor:
        images, rows = (everything, count) if together else (queries, 0)
        return LOSSES[learner.inner_loss](logits(w, phi, images, rows)[1], query_labels)

    return support_loss, query_loss, moving, [*body, *fixed]
