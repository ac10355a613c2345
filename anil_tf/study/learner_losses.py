"""The losses of a learner's tasks, as the theory takes them.

A `MetaLearner` goes from images to query logits. The theory asks for functions: of the head alone, with the features
as constants (`inner_problem`), or of head and body (`task_losses`). `learner_landscape` measures both. All is as in
evaluation: no dropout, and the batch normalisation that evaluation uses.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from anil_tf.adaptation.losses import LOSSES, inner_loss
from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.inner_loop import of_support
from anil_tf.meta_learner import MetaLearner
from anil_tf.models.normalization import batch_normalizations
from anil_tf.models.pure_call import pure_call
from anil_tf.theory.landscape import Landscape, block_landscape, concatenate, head_landscape
from anil_tf.theory.task_derivatives import Loss


def inner_problem(
    learner: MetaLearner, inputs: dict[str, tf.Tensor]
) -> tuple[InnerProblem, Tensors, Tensors]:
    """States the support losses of a batch of tasks as functions of the head.

    Args:
        learner: at the weights to look at.
        inputs: what a call of the learner takes, B tasks.

    Returns:
        problem (a `LinearProblem` for a linear head, whatever the learner's differentiation), start (w_0) and shared
        (the features, for a linear head alone), tensors [B, ...].
    """
    if learner.differentiation == "unrolled":  # which takes tapes where closed forms exist
        learner = learner.replace(differentiation="explicit")
    posed = learner.pose({name: tf.convert_to_tensor(part) for name, part in inputs.items()})
    return posed.problem, posed.start, posed.shared


def task_losses(
    learner: MetaLearner, inputs: dict[str, tf.Tensor], labels: tf.Tensor, task: int
) -> tuple[Loss, Loss, Tensors, Tensors]:
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


def learner_landscape(
    learner: MetaLearner,
    inputs: dict[str, tf.Tensor],
    labels: tf.Tensor | None = None,
    **options: Any,
) -> Landscape:
    """Measures the landscape of a batch of tasks along the learner's own inner loop.

    Args:
        learner: at the weights to look at; its inner_steps and inner_step_size (if learned, their mean) make the
            trajectory.
        inputs: what a call of the learner takes, B tasks.
        labels: of the queries, [B, n_q]. With them the body's blocks, rho, tau and M are measured too, task by task,
            which takes a few hundred passes of the body each.
        **options: of `block_landscape`, such as points and pairs.

    Returns:
        The landscape of the B tasks.
    """
    sizes = [np.mean(size) for size in learner.inner_step_sizes] or [learner.inner_step_size]
    path: dict[str, Any] = {"steps": learner.inner_steps, "step_size": float(np.mean(sizes))}
    by_head = head_landscape(*inner_problem(learner, inputs), **path)
    if labels is None:
        return by_head
    tasks = range(len(by_head.strong_convexity))
    by_block = concatenate(
        [
            block_landscape(*task_losses(learner, inputs, labels, task), **(path | options))
            for task in tasks
        ]
    )
    return dataclasses.replace(
        by_block,
        strong_convexity=by_head.strong_convexity,
        smoothness_head=by_head.smoothness_head,
        smoothness_bound=by_head.smoothness_bound,
    )
