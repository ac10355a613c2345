"""What the engines evaluate, counted while they run, against the formulas."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from anil_tf.adaptation import explicit, unrolled
from anil_tf.adaptation.span_problem import SpanProblem
from anil_tf.theory.complexity import (
    CountedProblem,
    Counts,
    count_meta_step,
    first_order_ratio,
    flop_ratio,
    formula,
)
from tests.adaptation.problems import (
    assert_close,
    derivatives,
    linear_head,
    normal,
    two_layer_head,
)


@pytest.mark.parametrize("engine", ["explicit", "unrolled"])
@pytest.mark.parametrize("method", ["anil", "maml"])
@pytest.mark.parametrize(("steps", "reach"), [(0, 0), (1, 1), (4, 0), (4, 3), (4, 4)])
def test_the_engines_evaluate_what_the_formulas_say(method, engine, steps, reach):
    options = {"engine": engine, "differentiated_steps": reach, "support": 5, "queries": 3}
    assert count_meta_step(method, steps=steps, **options) == formula(method, steps, **options)


def test_the_formulas_are_those_of_the_paper_for_exact_derivatives():
    assert formula("anil", 7, support=5, queries=3) == Counts(8, 7, 7, 1, 1, 0, 24)
    assert formula("maml", 7, engine="unrolled") == Counts(8, 7, 0, 8, 15, 7, 66)
    assert formula("maml", 7, engine="explicit") == Counts(8, 7, 0, 15, 22, 7, 87)


@hypothesis.given(*[st.integers(1, 100)] * 3)
@hypothesis.example(5, 25, 25)
def test_the_ratio_of_maml_to_anil_is_the_quotient_of_the_published_terms(steps, support, queries):
    exact = (9 * steps * support + 3 * queries) / (3 * (support + queries))
    first_order = (steps * support + queries) / (support + queries)
    assert flop_ratio(steps, support, queries) == pytest.approx(exact, rel=1e-14)
    assert first_order_ratio(steps, support, queries) == pytest.approx(first_order, rel=1e-14)


def test_the_ratio_is_what_the_passes_counted_on_the_engine_cost():
    images = {"steps": 3, "support": 5, "queries": 2, "engine": "unrolled"}
    maml, anil = (count_meta_step(method, **images).body_work for method in ("maml", "anil"))
    assert maml / anil == flop_ratio(3, 5, 2)


def problems():
    taped, closed, start, shared = linear_head()
    yield "taped", taped, start, shared
    yield "closed form", closed, start, shared
    gram = normal(7, 3, 6, 6)
    outputs = [normal(8, 3, 6, 3)]
    span = SpanProblem(closed, step_size=0.3)
    yield "in the span", span, outputs, [gram, normal(9, 3, 6, 3)]
    yield "nonconvex", *two_layer_head()


@pytest.mark.parametrize("engine", [explicit, unrolled], ids=["explicit", "unrolled"])
@pytest.mark.parametrize("case", list(problems()), ids=lambda case: case[0])
def test_counting_changes_nothing(case, engine):
    _, problem, start, shared = case
    counts = Counts()

    def run(problem):
        return derivatives(
            lambda start, shared: engine.gradient_descent(
                problem,
                start,
                shared,
                steps=4,
                step_sizes=[0.3] * len(start),
                differentiated_steps=3,
            ),
            start,
            shared,
        )

    assert_close(run(CountedProblem(problem, counts)), run(problem), rtol=1e-12)
    assert counts == Counts(gradients=4, hessian_vector=3, mixed=3)


def test_a_training_costs_its_meta_steps_times_its_tasks():
    total = formula("anil", 5).to_accuracy(meta_steps=100, meta_batch_size=4)
    assert (total.gradients, total.mixed, total.body_forward) == (2400, 2000, 400)
    np.testing.assert_equal(formula("anil", 5).times(2).hessian_vector, 10)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: formula("reptile", 3), "anil, maml"),
        (lambda: formula("anil", -1), "0 or more"),
        (lambda: count_meta_step("anil", steps=1, engine="implicit"), "explicit, unrolled"),
        (
            lambda: count_meta_step("anil", steps=3, differentiated_steps=4),
            "differentiated_steps=4",
        ),
    ],
)
def test_what_is_unknown_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
