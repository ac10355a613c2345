"""Proposition 1, by its own reverse recursion: the meta-gradient with nothing kept but the iterates.

With H_m = grad_w^2 L_S(w_m, s), J_m = grad_s grad_w L_S(w_m, s), A_m = I - alpha H_m and D = grad_w L_D(w_N, s),

    dL_D/dw = A_0 A_1 ... A_{N-1} D
    dL_D/ds = grad_s L_D(w_N, s) - alpha sum_m J_m A_{m+1} ... A_{N-1} D

(in Ji et al. 2020, arXiv:2006.09486; the notation is attributed, the formula derived and tested here). No matrix is
ever formed. Read from right to left, the products share their factors:

    v = D
    for m = N-1 .. 0:
        ds -= J_m (alpha v)         # v before its own update
        v  -= H_m (alpha v)
    dL_D/dw = v

so N Hessian-vector and N mixed products are all it takes. In the code, D is the cotangent of w_N that `reverse` is
given; grad_s L_D is added outside, by whoever uses s again. s are the features of the support (in BOIL the fixed layers
too), not the body's parameters: the recursion ends in one cotangent on the features, and the body is differentiated
once, however large N is. alpha stands inside the products because it may differ from entry to entry, as in Meta-SGD.

A recursion that stops after the last m steps is truncated back-propagation; after none, first order.
"""

import functools
from typing import Any

import tensorflow as tf

from anil_tf.adaptation.problem import InnerProblem, Tensors
from anil_tf.adaptation.unrolled import StepSizes, descend


def gradient_descent(
    problem: InnerProblem,
    start: Tensors,
    shared: Tensors,
    *,
    steps: int,
    step_sizes: StepSizes,
    differentiated_steps: int,
) -> Tensors:
    """Does what `unrolled.gradient_descent` does, and is differentiated by Proposition 1.

    Nothing is kept but the iterates: each step is computed a second time on the way back, one after the other, and the
    program itself holds one step however many are taken: memory grows by w alone (measured: benchmarks/README.md).

    Args:
        problem: the support losses of B tasks.
        start: w_0, tensors [B, ...].
        shared: s, all tensors [B, ...] by which the support loss is differentiated beside w.
        steps: N, 0 or more.
        step_sizes: alpha for each tensor.
        differentiated_steps: how many steps, the last ones, the recursion goes back over.

    Returns:
        w_N, tensors of the shapes of `start`.
    """
    if steps == 0:
        return list(start)
    learned = [size for size in step_sizes if _is_learned(size)]

    @tf.custom_gradient
    def run(*arguments: tf.Tensor) -> tuple[Any, ...]:
        adapted, shared, sizes = _unpack(arguments, len(start), step_sizes)

        def go_on(point: Tensors, step: tf.Tensor) -> Tensors:
            gradient = problem.gradient(point, shared, step)
            return _shaped_like(point, descend(point, gradient, sizes))

        def go_back(
            state: tuple[Any, ...], at: tuple[tf.Tensor, Tensors], *, constant: bool
        ) -> tuple[Any, ...]:
            vector, of_shared, of_sizes = state
            step, point = at
            if learned:  # w_{m+1} = w_m - alpha g, so alpha earns -<v, g>
                gradient = problem.gradient(point, shared, step)
                of_sizes = _subtract(of_sizes, _of_sizes(vector, gradient, step_sizes))
            if not constant:
                scaled = [size * part for size, part in zip(sizes, vector, strict=True)]
                hessian_product, mixed_product = problem.products(point, shared, step, scaled)
                of_shared = _subtract(of_shared, mixed_product)
                vector = _subtract(vector, hessian_product)
            return vector, of_shared, of_sizes

        numbers = tf.range(steps)
        after = tf.scan(go_on, numbers, adapted, parallel_iterations=1)  # w_1 .. w_N, [N, B, ...]
        before = [  # w_0 .. w_{N-1}
            tf.concat([first[None], later[:-1]], axis=0)
            for first, later in zip(adapted, after, strict=True)
        ]

        def reverse(*cotangent: tf.Tensor) -> Tensors:
            vector = [tf.convert_to_tensor(part) for part in cotangent]  # eager slices come sparse
            of_shared = [tf.zeros_like(tensor) for tensor in shared]
            state = (vector, of_shared, [tf.zeros_like(size) for size in learned])
            turn = steps - differentiated_steps
            parts = ((slice(turn, steps), False), (slice(0, turn), True))
            for part, constant in parts:
                count = part.stop - part.start
                if count == 0 or (constant and not learned):
                    continue
                path = (numbers[part], [points[part] for points in before])
                step_back = functools.partial(go_back, constant=constant)
                state = tf.foldr(step_back, path, state, parallel_iterations=1)
            vector, of_shared, of_sizes = state
            return [*vector, *of_shared, *of_sizes]

        return tuple(points[-1] for points in after), reverse

    return list(run(*start, *shared, *learned))


def _unpack(
    arguments: tuple[tf.Tensor, ...], count: int, step_sizes: StepSizes
) -> tuple[Tensors, Tensors, StepSizes]:
    """From the flat arguments of `run` to w_0, s and the step sizes, numbers among them."""
    learned = sum(_is_learned(size) for size in step_sizes)
    rest = list(arguments[count : len(arguments) - learned])
    given = iter(arguments[len(arguments) - learned :])
    sizes = [next(given) if _is_learned(size) else size for size in step_sizes]
    return list(arguments[:count]), rest, sizes


def _of_sizes(vector: Tensors, gradient: Tensors, step_sizes: StepSizes) -> Tensors:
    """<v, g> for each learned step size, summed over the entries and tasks that share it."""
    return [
        _sum_to(part * slope, size.shape)
        for part, slope, size in zip(vector, gradient, step_sizes, strict=True)
        if not isinstance(size, float | int)
    ]


def _is_learned(size: float | tf.Tensor) -> bool:
    return not isinstance(size, float | int)


def _sum_to(tensor: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """The gradient of broadcasting: `tensor` summed over the axes that a tensor of `shape` was spread over."""
    summed = tf.reduce_sum(tensor, axis=list(range(tensor.shape.rank - shape.rank)))
    spread = [axis for axis in range(shape.rank) if shape[axis] == 1]
    return tf.reduce_sum(summed, axis=spread, keepdims=True) if spread else summed


def _subtract(tensors: Tensors, amounts: Tensors) -> Tensors:
    differences = [tensor - amount for tensor, amount in zip(tensors, amounts, strict=True)]
    return _shaped_like(tensors, differences)


def _shaped_like(examples: Tensors, tensors: Tensors) -> Tensors:
    """`tensors`, known to have the shapes of `examples`: a graph loop insists on it."""
    return [tf.ensure_shape(t, like.shape) for t, like in zip(tensors, examples, strict=True)]
