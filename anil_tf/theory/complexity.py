"""What a meta-step evaluates: counted on the engines themselves, beside the formulas.

Per task and meta-step, with N inner steps of which the last M are differentiated through (M = N is exact, M = 0 first
order), and the body seen as one function that is evaluated forward, backward, or backward through its own backward:

                                        ANIL     MAML, unrolled    MAML, explicit
    gradients by the adapted tensors    N+1           N+1               N+1
    Hessian-vector products              M             M                 M
    mixed products                       M             -                 -
    body forward                         1            N+1             N+M+1
    body backward                        1           N+M+1            N+2M+1
    body backward again                  0             M                 M

(derived; `count_meta_step` counts the same on the real engines). In MAML the body is part of what adapts, so each of
its gradients and products runs the body, and the explicit engine, which keeps no activations, runs it once more on the
way back. With a forward pass of one image as the unit, a backward pass 2 and a backward through it 4, s support and q
query images cost

    ANIL   3 (s + q)                  MAML, unrolled   (3N + 6M) s + 3 q         MAML, explicit   (3N + 9M) s + 3 q

whence the ratio (9Ns + 3q) / (3(s + q)) of exact MAML to ANIL. The work of the head itself counts as nothing.
"""

import dataclasses
from collections.abc import Callable
from types import ModuleType

import numpy as np
import tensorflow as tf

from anil_tf.adaptation import explicit, unrolled
from anil_tf.adaptation.linear_problem import LinearProblem, linear
from anil_tf.adaptation.losses import cross_entropy
from anil_tf.adaptation.problem import InnerProblem, TapedProblem, Tensors

METHODS = ("anil", "maml")
ENGINES: dict[str, ModuleType] = {"explicit": explicit, "unrolled": unrolled}

# What a pass through the body costs, per image, in forward passes.
FORWARD, BACKWARD, BACKWARD_AGAIN = 1, 2, 4


@dataclasses.dataclass
class Counts:
    """How often a meta-step evaluates what, for one task.

    Attributes:
        gradients: of the support or query loss by what adapts.
        hessian_vector: products H v with the Hessian of the support loss.
        mixed: products J v, from what adapts to the features.
        body_forward: evaluations of the body, whatever the number of images.
        body_backward: its vector-Jacobian products.
        body_backward_again: derivatives of those products, which second-order MAML needs.
        body_work: all three in forward passes of one image.
    """

    gradients: float = 0
    hessian_vector: float = 0
    mixed: float = 0
    body_forward: float = 0
    body_backward: float = 0
    body_backward_again: float = 0
    body_work: float = 0

    def times(self, factor: float) -> "Counts":
        """Returns all counts multiplied by a number."""
        return Counts(**{name: factor * count for name, count in dataclasses.asdict(self).items()})

    def to_accuracy(self, *, meta_steps: float, meta_batch_size: int) -> "Counts":
        """Returns the counts of a whole training.

        Args:
            meta_steps: how many it took to the accuracy in question.
            meta_batch_size: tasks in each of them.
        """
        return self.times(meta_steps * meta_batch_size)


class CountedProblem:
    """An `InnerProblem` that does what another does, and counts it; in eager mode only.

    Where the tape differentiates a gradient (the unrolled engine), that is a Hessian-vector and a mixed product too.
    """

    def __init__(self, problem: InnerProblem, counts: Counts):
        """Takes the problem to be counted, and where to count."""
        self._problem, self._counts = problem, counts

    def gradient(self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor) -> Tensors:
        """See `InnerProblem`."""
        self._counts.gradients += 1
        gradient = self._problem.gradient(adapted, shared, step)
        return _on_gradient(gradient, lambda: self._count_products(shared))

    def products(
        self, adapted: Tensors, shared: Tensors, step: int | tf.Tensor, vector: Tensors
    ) -> tuple[Tensors, Tensors]:
        """See `InnerProblem`."""
        self._count_products(shared)
        return self._problem.products(adapted, shared, step, vector)

    def _count_products(self, shared: Tensors) -> None:
        self._counts.hessian_vector += 1
        self._counts.mixed += bool(shared)


def formula(
    method: str,
    steps: int,
    *,
    engine: str = "explicit",
    differentiated_steps: int | None = None,
    support: int = 1,
    queries: int = 1,
) -> Counts:
    """The counts of one task in a meta-step, by the formulas at the head of this file.

    Args:
        method: "anil" or "maml".
        steps: N, 0 or more.
        engine: "explicit" or "unrolled".
        differentiated_steps: M, by default N; 0 is first order.
        support: s, support images of a task.
        queries: q, query images of a task.

    Returns:
        The counts; `body_work` alone depends on s and q.

    Raises:
        ValueError: for an unknown method or engine, or steps that are negative.
    """
    reach = _reach(method, steps, engine, differentiated_steps)
    if method == "anil":
        forward = backward = 1
        again, mixed = 0, reach
        work = 3 * (support + queries)
    else:
        repeated = reach if engine == "explicit" else 0
        forward, backward = steps + repeated + 1, steps + reach + repeated + 1
        again, mixed = reach, 0
        work = (3 * steps + 6 * reach + 3 * repeated) * support + 3 * queries
    return Counts(steps + 1, reach, mixed, forward, backward, again, work)


def flop_ratio(steps: int, support: int, queries: int) -> float:
    """What a meta-step of exact MAML costs in units of one of ANIL: (9Ns + 3q) / (3(s + q)).

    Args:
        steps: N.
        support: s, support images of a task.
        queries: q, query images of a task.

    Returns:
        E.g. 2, 8 and 15.5 for N = 1, 5 and 10 with as many query as support images. Work of the body alone, unrolled.
    """
    return _ratio(steps, support, queries, steps)


def first_order_ratio(steps: int, support: int, queries: int) -> float:
    """What a meta-step of first-order MAML costs in units of one of ANIL: (Ns + q) / (s + q); see `flop_ratio`."""
    return _ratio(steps, support, queries, 0)


def _ratio(steps: int, support: int, queries: int, reach: int) -> float:
    sizes = {"differentiated_steps": reach, "support": support, "queries": queries}
    maml, anil = (formula(method, steps, engine="unrolled", **sizes) for method in ("maml", "anil"))
    return maml.body_work / anil.body_work


def count_meta_step(
    method: str,
    *,
    steps: int,
    engine: str = "explicit",
    differentiated_steps: int | None = None,
    support: int = 4,
    queries: int = 4,
) -> Counts:
    """Counts one meta-step of a real engine, for one task, on a small smooth network; see `formula` for the arguments.

    Of "anil" the last layer adapts, and the body runs once on support and queries; of "maml" all adapts.

    Example:
        >>> count_meta_step("anil", steps=5).hessian_vector
        5
    """
    reach = _reach(method, steps, engine, differentiated_steps)
    counts = Counts()
    body = _counted_body(counts)
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(size=[support + queries, 6]))
    labels = tf.constant(np.arange(support + queries) % 3)
    layer, head = tf.constant(random.normal(size=[6, 5])), tf.constant(random.normal(size=[5, 3]))

    def adapt(problem: InnerProblem, start: Tensors, shared: Tensors) -> Tensors:
        adapted = ENGINES[engine].gradient_descent(
            CountedProblem(problem, counts),
            [tensor[None] for tensor in start],
            shared,
            steps=steps,
            step_sizes=[0.1] * len(start),
            differentiated_steps=reach,
        )
        return _on_gradient(adapted, lambda: _count(counts, "gradients"))  # D, by the query loss

    def anil() -> tf.Tensor:
        features = body(images, layer)[None]
        targets = tf.one_hot(labels[None, :support], 3, dtype=features.dtype)
        problem = LinearProblem(targets, loss="cross_entropy", l2=0.0)
        adapted = adapt(problem, [head], [features[:, :support]])
        return cross_entropy(linear(features[:, support:], adapted)[0], labels[support:])

    def maml() -> tf.Tensor:
        def loss(adapted: Tensors, rows: slice) -> tf.Tensor:
            return cross_entropy(
                tf.matmul(body(images[rows], adapted[0]), adapted[1]), labels[rows]
            )

        of_support = TapedProblem(lambda w, *_: loss(w, slice(support)), (), mode="unrolled")
        adapted = adapt(of_support, [layer, head], [])
        return loss([tensor[0] for tensor in adapted], slice(support, None))

    with tf.GradientTape() as tape:
        tape.watch([layer, head])
        value = anil() if method == "anil" else maml()
    tape.gradient(value, [layer, head])
    return counts


def _reach(method: str, steps: int, engine: str, differentiated_steps: int | None) -> int:
    """M, all arguments checked."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}. Received: {method!r}.")
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}. Received: {engine!r}.")
    reach = steps if differentiated_steps is None else differentiated_steps
    if not 0 <= reach <= steps:
        raise ValueError(
            "steps must be 0 or more, and differentiated_steps between 0 and steps. Received: "
            f"steps={steps}, differentiated_steps={differentiated_steps}."
        )
    return reach


def _counted_body(counts: Counts) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A layer of tanh, (images [rows, d], kernel [d, width]) -> features, that counts all three kinds of passes."""

    def function(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.tanh(tf.matmul(images, kernel))

    def derivative(images: tf.Tensor, kernel: tf.Tensor, cotangent: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            features = function(images, kernel)
        return tape.gradient(features, kernel, output_gradients=cotangent)

    def backward(images: tf.Tensor, kernel: tf.Tensor, cotangent: tf.Tensor) -> tf.Tensor:
        _count(counts, "body_backward", BACKWARD * len(images))

        @tf.custom_gradient
        def differentiable(kernel: tf.Tensor, cotangent: tf.Tensor) -> tuple:
            def again(vector: tf.Tensor) -> Tensors:
                _count(counts, "body_backward_again", BACKWARD_AGAIN * len(images))
                with tf.GradientTape() as tape:
                    tape.watch([kernel, cotangent])
                    pulled = derivative(images, kernel, cotangent)
                return tape.gradient(pulled, [kernel, cotangent], output_gradients=vector)

            return derivative(images, kernel, cotangent), again

        return differentiable(kernel, cotangent)

    def forward(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        _count(counts, "body_forward", FORWARD * len(images))

        @tf.custom_gradient
        def differentiable(kernel: tf.Tensor) -> tuple:
            return function(images, kernel), lambda cotangent: backward(images, kernel, cotangent)

        return differentiable(kernel)

    return forward


def _count(counts: Counts, name: str, work: int = 0) -> None:
    setattr(counts, name, getattr(counts, name) + 1)
    counts.body_work += work


def _on_gradient(tensors: Tensors, notice: Callable[[], None]) -> Tensors:
    """The tensors themselves; `notice` is called when a derivative passes back through them."""

    @tf.custom_gradient
    def identity(*parts: tf.Tensor) -> tuple:
        def reverse(*cotangents: tf.Tensor) -> list[tf.Tensor]:
            notice()
            return list(cotangents)

        return tuple(tf.identity(part) for part in parts), reverse

    return list(identity(*tensors))
