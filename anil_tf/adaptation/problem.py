"""The inner problem: the support loss of every task, seen through its derivatives.

Everything that differentiates through adaptation needs two things of the support loss L_S(w, s), where w is what adapts
(the head) and s what it shares with the outer loop (features, layers that do not adapt):

    gradient            g = grad_w L_S                                   where the inner loop goes
    products with v     (v^T dg/dw, v^T dg/ds)                           how it would have gone from elsewhere

dg/dw is the Hessian H = grad_w^2 L_S, which is symmetric: the first product is the Hessian-vector product H v. The
second is the mixed product J v with J = grad_s grad_w L_S.

`TapedProblem` takes both from tapes, for any loss. `linear_problem.py` has them in closed form for a linear head.

Shapes: every tensor of w, s and v has a leading axis of B tasks. A task's loss depends on its own slice alone, so H and
J are block-diagonal, and one product with all tasks' v is each task's product with its own.
"""

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from anil_tf.adaptation.over_tasks import over_tasks

Tensors = list[tf.Tensor]
# One task's loss: loss(w, s, constants, step) -> scalar.
TaskLoss = Callable[[Tensors, Tensors, Any, int | tf.Tensor], tf.Tensor]


class InnerProblem(Protocol):
    """The support losses of B tasks."""

    def gradient(self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor) -> Tensors:
        """Returns grad_w L_S.

        Args:
            adapted: w, tensors [B, ...].
            shared: s, tensors [B, ...].
            step: number of the inner step, on which the masks of dropout depend.

        Returns:
            Tensors of the shapes of `adapted`.
        """

    def products(
        self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Returns the Hessian-vector and the mixed product, v^T dg/dw and v^T dg/ds.

        Args:
            adapted: w, tensors [B, ...].
            shared: s, tensors [B, ...].
            step: number of the inner step.
            vector: v, tensors of the shapes of `adapted`.

        Returns:
            Tensors of the shapes of `adapted`, and tensors of the shapes of `shared`.
        """


class TapedProblem:
    """Any loss at all: derivatives by tapes."""

    def __init__(self, loss: TaskLoss, constants: Any, *, mode: str):
        """Takes the loss of one task.

        Args:
            loss: loss(w, s, constants, step) -> scalar, where tensors have lost the axis of tasks.
            constants: what the loss needs and nobody differentiates by (labels, seeds); tensors [B, ...].
            mode: how to go over the tasks; see `over_tasks`.
        """
        self._loss, self._constants, self._mode = loss, constants, mode

    def gradient(self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor) -> Tensors:
        """See `InnerProblem`."""

        def of_one_task(task: tuple[Any, ...]) -> Tensors:
            adapted, shared, constants = task
            return self._gradient(adapted, shared, constants, step)

        return over_tasks(of_one_task, (adapted, shared, self._constants), mode=self._mode)

    def products(
        self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        """See `InnerProblem`."""

        def of_one_task(task: tuple[Any, ...]) -> tuple[Tensors, Tensors]:
            adapted, shared, constants, vector = task
            with tf.GradientTape() as tape:
                tape.watch([adapted, shared])
                gradient = self._gradient(adapted, shared, constants, step)
            return tape.gradient(
                gradient,
                (adapted, shared),
                output_gradients=vector,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )

        tasks = (adapted, shared, self._constants, vector)
        return over_tasks(of_one_task, tasks, mode=self._mode)

    def _gradient(
        self, adapted: Tensors, shared: Tensors, constants: Any, step: int | tf.Tensor
    ) -> Tensors:
        with tf.GradientTape() as tape:
            tape.watch(adapted)
            loss = self._loss(adapted, shared, constants, step)
        # A tensor that the loss does not see gets a gradient of zero, and stays where it is.
        return tape.gradient(loss, adapted, unconnected_gradients=tf.UnconnectedGradients.ZERO)
