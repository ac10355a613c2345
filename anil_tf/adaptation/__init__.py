"""Adaptation: the inner loop and its derivatives, as pure functions on tensors.

Read in this order:

    losses.py               the losses of the inner problem
    problem.py              the inner problem: gradient, Hessian-vector and mixed products, for any head
    linear_problem.py       the same in closed form, for a linear head
    unrolled.py             N steps of gradient descent, differentiated by tapes
    explicit.py             ... by Proposition 1, which keeps the iterates and nothing else; truncated; first order
    span_problem.py         ... for a linear head, at a cost per step that does not grow with the features
    implicit.py             ... at the minimum itself, by the implicit function theorem
    conjugate_gradients.py  the linear systems that this leads to
    over_tasks.py           one function of one task, applied to all
"""
