"""MetaLearner: one computation however it is run, what it is made of, and Keras' services."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import anil_tf
from anil_tf.config.adaptation import Adaptation
from anil_tf.config.heads import HEADS
from anil_tf.config.option import options as options_of
from anil_tf.models import conv4, mlp, split
from tests.learners import (
    EXAMPLES,
    TASKS,
    WAYS,
    conv_learner,
    meta_batch,
    meta_gradient,
    precision,
    smooth_learner,
)

IMAGES, VECTORS = (16, 16, 1), (4,)
IMPLICIT = {"differentiation": "implicit", "inner_l2": 0.1}
RIDGE = {"head_initialization": "ridge", "inner_l2": 1.0}
NIL = {"head_initialization": "nil"}


# ---- A call: one answer for one task, one meta-gradient for one meta-batch


@pytest.mark.parametrize(
    ("normalization", "adapted_layers"), [("episode", 2), ("support", "all"), ("running", 1)]
)
def test_tasks_do_not_see_each_other_and_the_meta_gradient_is_their_mean(
    normalization, adapted_layers
):
    learner = conv_learner(adapted_layers, normalization=normalization, inner_steps=1)
    inputs, labels = meta_batch(IMAGES, tasks=2)
    whole, together = meta_gradient(learner, inputs, labels), learner(inputs)
    parts = []
    for t in range(2):
        one = {name: value[t : t + 1] for name, value in inputs.items()}
        np.testing.assert_allclose(together[t], learner(one)[0], rtol=1e-4, atol=1e-4)
        parts.append(meta_gradient(learner, one, labels[t : t + 1]))
    for mean, *each in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "shape", "options"),
    [
        (conv_learner, IMAGES, {"inner_steps": 1}),
        (smooth_learner, VECTORS, {"head_initialization": "prototype", "adapted_layers": 2}),
        (smooth_learner, VECTORS, NIL),
        (smooth_learner, VECTORS, RIDGE),
        (smooth_learner, VECTORS, IMPLICIT),
    ],
)
def test_compiled_by_xla_equals_eager(make, shape, options):
    learner = make(**options, ways=WAYS)
    inputs, labels = meta_batch(shape)
    eager = meta_gradient(learner, inputs, labels)
    compiled = tf.function(meta_gradient, jit_compile=True)(learner, inputs, labels)
    for one, other in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"adapted_layers": "all"}, IMPLICIT, RIDGE | {"adapted_layers": 2}, NIL],
    ids=str,
)
def test_a_query_is_answered_whatever_its_neighbours(options):
    """Two tasks of one support and one first query, among other queries: one answer, except under `episode`."""
    learner = conv_learner(**{"inner_steps": 1} | options)
    inputs, _ = meta_batch(IMAGES, tasks=2)
    query, others = inputs["query_images"][:1, :1], inputs["query_images"][:, 1:]
    twice = lambda tensor: tf.repeat(tensor[:1], 2, axis=0)  # noqa: E731
    pair = {
        "support_images": twice(inputs["support_images"]),
        "support_labels": twice(inputs["support_labels"]),
        "query_images": tf.concat([twice(query), others], axis=1),
    }
    for source in ("support", "running", "episode"):
        one, other = learner.replace(normalization=source)(pair)[:, 0]
        assert np.isfinite(one).all() and np.ptp(one) > 0
        apart = np.abs(one - other).max()
        assert apart > 1e-3 if source == "episode" else apart < 1e-5, source


@pytest.mark.parametrize("head", [name for name in HEADS if HEADS[name].any_number_of_ways])
def test_symmetric_heads_ignore_the_order_of_classes_and_take_any_ways(head):
    learner = smooth_learner(head_initialization=head, inner_l2=1.0)
    inputs, _ = meta_batch(VECTORS)
    renamed = inputs | {"support_labels": (inputs["support_labels"] + 1) % WAYS}
    rolled = np.roll(learner(inputs), 1, axis=2)
    np.testing.assert_allclose(rolled, learner(renamed), rtol=1e-4, atol=1e-4)
    more, _ = meta_batch(VECTORS, ways=7)
    wide = more | {"support_labels": tf.cast(more["support_labels"], tf.int64)}
    assert learner(more).shape == (TASKS, 7 * EXAMPLES, 7)
    np.testing.assert_array_equal(learner(wide), learner(more))


def test_dropout_draws_from_seed_step_and_task_and_is_off_elsewhere():
    def learner(seed):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(WAYS)]
        parts = split(keras.Sequential([keras.Input(VECTORS), *layers]), 2)
        made = anil_tf.MetaLearner(*parts, inner_steps=2, seed=seed)
        made.compile(optimizer=keras.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
        return made

    inputs, _ = meta_batch(VECTORS)
    one, same, other = learner(0), learner(0), learner(1)
    before = one(inputs, training=True)
    np.testing.assert_array_equal(before, one(inputs, training=True))
    np.testing.assert_array_equal(before, same(inputs, training=True))
    assert np.abs(before - other(inputs, training=True)).max() > 1e-4
    assert np.abs(before - one(inputs)).max() > 1e-4
    one.optimizer.iterations.assign_add(1)
    assert np.abs(before - one(inputs, training=True)).max() > 1e-4
    twice = {name: tf.concat([value[:1], value[:1]], axis=0) for name, value in inputs.items()}
    first, second = one(twice, training=True)
    assert np.abs(first - second).max() > 1e-4


def test_a_label_beyond_the_ways_is_refused():
    learner = smooth_learner(head_initialization="zero", ways=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="below the number of ways"):
        learner(meta_batch(VECTORS)[0])


def test_a_mixed_policy_for_all_leaves_adaptation_exact():
    """Body and head in bfloat16 by a global policy: what joins them, and the logits, stay float32."""
    inputs, _ = meta_batch(IMAGES)
    with precision("mixed_bfloat16"):
        learner = conv_learner()
        assert learner(inputs).dtype == tf.float32
        assert conv_learner(2)(inputs).dtype == tf.float32
    assert learner.body.compute_dtype == "bfloat16"


def test_a_frozen_layer_among_the_adapted_ones_stays():
    keras.utils.set_random_seed(1)
    model = conv4(input_shape=IMAGES, classes=WAYS, filters=4)
    [layer for layer in model.layers if "batch" in layer.name][-1].trainable = False
    learner = anil_tf.MetaLearner(*split(model, 2), inner_steps=1)
    gradients = meta_gradient(learner, *meta_batch(IMAGES))
    assert all(np.isfinite(gradient).all() for gradient in gradients)


# ---- Keras: fit, evaluate, save


def compiled_learner(**options):
    learner = conv_learner(**options)
    learner.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return learner


def dataset(seed=0):
    return tf.data.Dataset.from_tensors(meta_batch(IMAGES, seed=seed)).repeat()


def test_fit_learns_and_never_retraces(monkeypatch):
    learner = compiled_learner()
    traces, call = [], learner.call

    def traced(inputs, training=False):
        traces.append(training)
        return call(inputs, training)

    monkeypatch.setattr(learner, "call", traced)
    history = learner.fit(dataset(), steps_per_epoch=5, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    learner.evaluate(dataset(), steps=1, verbose=0)
    learner.evaluate(dataset(seed=1), steps=1, verbose=0)
    assert traces == [True, False]


def test_only_training_changes_variables_and_moving_statistics_move_once():
    learner = compiled_learner(adapted_layers=2)
    before = learner.get_weights()
    inputs, _ = meta_batch(IMAGES)
    learner.evaluate(dataset(), steps=1, verbose=0)
    learner.adapt(inputs["support_images"][0], inputs["support_labels"][0])
    for old, new in zip(before, learner.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    seen = tf.concat([inputs["support_images"], inputs["query_images"]], axis=1)
    seen = tf.reshape(seen, [-1, *IMAGES])
    for first in learner.body.layers[1:]:
        if isinstance(first, keras.layers.BatchNormalization):
            break
        seen = first(seen)
    mean = (1 - first.momentum) * np.mean(seen, axis=(0, 1, 2))
    learner.fit(dataset(), steps_per_epoch=1, verbose=0)
    np.testing.assert_allclose(first.moving_mean, mean, rtol=1e-3)
    moving = [v for v in learner.non_trainable_variables if "moving_mean" in v.path]
    assert len(moving) == 4 and all(np.abs(v).max() > 0 for v in moving)


def test_tasks_need_a_number_of_steps():
    tasks = type("Tasks", (), {"as_dataset": staticmethod(dataset)})()
    learner = smooth_learner()
    learner.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="steps_per_epoch is needed"):
        learner.fit(tasks)
    with pytest.raises(ValueError, match="Tasks never end, so steps is needed"):
        learner.evaluate(tasks)
    with pytest.raises(ValueError, match="validation_steps is needed"):
        learner.fit(tasks, steps_per_epoch=1, validation_data=tasks)


def test_xla_is_not_chosen_where_its_second_derivative_is_wrong():
    """TensorFlow's compiled second derivative of max pooling errs among close maxima."""
    pooled, smooth = (
        conv4(input_shape=IMAGES, classes=WAYS, filters=2, pooling=kind)
        for kind in ("max", "average")
    )

    def learner_of(model, adapted_layers="all", **options):
        learner = anil_tf.MetaLearner(*split(model, adapted_layers), **options)
        learner.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
        return learner

    assert learner_of(smooth).jit_compile
    assert learner_of(pooled, 1).jit_compile
    assert learner_of(pooled, differentiation="first_order").jit_compile
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        assert not learner_of(pooled).jit_compile


def test_a_saved_learner_trains_on(tmp_path):
    options = {"learned_inner_step_size": "per_variable", "head_initialization": "prototype"}
    learner = compiled_learner(**options, normalization="running", inner_l2=0.1)
    learner.fit(dataset(), steps_per_epoch=1, verbose=0)
    learner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.settings() == learner.settings()
    inputs, _ = meta_batch(IMAGES)
    np.testing.assert_array_equal(learner(inputs), loaded(inputs))
    for one in (learner, loaded):
        one.fit(dataset(seed=1), steps_per_epoch=1, verbose=0)
    np.testing.assert_allclose(learner(inputs), loaded(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        RIDGE | {"adapted_layers": 2},
        NIL | {"adapted_layers": "all"},
        IMPLICIT,
        {"differentiation": "truncated", "truncated_to": 1, "head_initialization": "zero"},
    ],
    ids=str,
)
def test_adaptation_survives_saving(options, tmp_path):
    learner = smooth_learner(**options)
    for variable in learner.start_variables:
        variable.assign(variable + 0.5)
    learner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config().keys() == learner.get_config().keys()
    assert loaded.settings() == learner.settings()
    ways = 5 if learner.adapted_head.rows is None else WAYS
    inputs, _ = meta_batch(VECTORS, tasks=1, ways=ways)
    np.testing.assert_array_equal(loaded(inputs), learner(inputs))


def test_a_learner_saved_with_first_order_is_read_as_what_it_was():
    learner = smooth_learner(differentiation="first_order")
    for first_order, expected in [(True, "first_order"), (False, "explicit")]:
        config = learner.get_config() | {"first_order": first_order}
        del config["differentiation"]
        assert anil_tf.MetaLearner.from_config(config).differentiation == expected


# ---- adapt and replace


@pytest.mark.parametrize(
    ("normalization", "head_initialization"), [("support", "prototype"), ("running", "free")]
)
def test_adapt_answers_as_a_call_does(normalization, head_initialization):
    learner = conv_learner(2, normalization=normalization, head_initialization=head_initialization)
    inputs, _ = meta_batch(IMAGES, tasks=1)
    support = inputs["support_images"][0], inputs["support_labels"][0]
    logits = learner.adapt(*support, normalization=normalization).predict_logits(
        inputs["query_images"][0]
    )
    np.testing.assert_allclose(logits, learner(inputs)[0], rtol=1e-3, atol=1e-4)


def test_adapt_takes_names_any_number_of_images_and_never_retraces():
    learner = conv_learner(head_initialization="prototype")
    inputs, _ = meta_batch(IMAGES, tasks=1)
    support = inputs["support_images"][0]
    classifier = learner.adapt(support, ["ant", "ant", "cat", "cat", "bee", "bee"])
    assert classifier.classes.tolist() == ["ant", "bee", "cat"]
    many = np.concatenate([inputs["query_images"][0]] * 60)
    probabilities = classifier.predict(many)
    assert probabilities.shape == (360, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(classifier.predict(many[0]), probabilities[:1], atol=1e-5)
    named = classifier.classes[probabilities[:2].argmax(1)]
    assert classifier.classify(many[:2]).tolist() == named.tolist()
    learner.adapt(support[:4], [0, 1, 0, 1]).predict(many[:3])
    functions = learner.adaptation_functions["support"]
    assert functions.adapt.experimental_get_tracing_count() == 1
    assert functions.answer.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("head", "shape", "labels", "message"),
    [
        ("zero", [4, 5], [0, 0, 1, 1], r"Expected images of shape \[count, 4\]"),
        ("zero", [0, 4], [], "count of 1 or more"),
        ("zero", [4, 4], [0, 1], "4 images and 2 labels"),
        ("zero", [2, 4], [1, 1], "two classes or more"),
        ("free", [2, 4], [0, 1], "one learned row per class, 3 here. Received: 2"),
    ],
)
def test_adapt_says_what_is_wrong(head, shape, labels, message):
    with pytest.raises(ValueError, match=message):
        smooth_learner(head_initialization=head).adapt(np.zeros(shape), labels)


@pytest.mark.parametrize("head_initialization", ["free", "zero", "ridge"])
def test_regression_with_squared_error(head_initialization):
    keras.utils.set_random_seed(0)
    learner = anil_tf.MetaLearner(
        *split(mlp(input_shape=(1,), classes=1), 1),
        inner_loss="squared_error",
        inner_step_size=0.01,
        inner_l2=1e-4,
        head_initialization=head_initialization,
    )
    x = np.linspace(-1, 1, 10, dtype="float32").reshape(1, 10, 1)
    inputs = {"support_images": x, "support_labels": 2 * x, "query_images": x}
    with tf.GradientTape() as tape:
        outputs = learner(inputs)
        loss = tf.reduce_mean((outputs - 2 * x) ** 2)
    gradients = tape.gradient(loss, learner.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    start = np.mean((learner.replace(inner_steps=0)(inputs) - 2 * x) ** 2)
    assert loss < (start if learner.has_inner_loop else 1e-2)
    predicted = learner.adapt(x[0], 2 * x[0]).predict(x[0])
    np.testing.assert_allclose(predicted, outputs[0], atol=1e-4)


def test_any_learner_becomes_nil_on_the_same_body():
    inputs, _ = meta_batch(VECTORS, ways=5)
    expected = smooth_learner(**NIL)(inputs)
    assert HEADS["nil"].fits_any_body
    for options in (IMPLICIT, RIDGE):
        nil = smooth_learner(**options).replace(**NIL, differentiation="explicit")
        np.testing.assert_array_equal(nil(inputs), expected)


@pytest.mark.parametrize(
    "options",
    [RIDGE, {"head_initialization": "prototype", "learned_inner_step_size": "scalar"}],
    ids=str,
)
def test_replace_shares_weights_and_copies_what_is_learned_beside_them(options):
    learner = smooth_learner(**options)
    learned = [*learner.start_variables, *learner.inner_step_sizes]
    for variable in learned:
        variable.assign(variable + 0.5)
    other = learner.replace(inner_steps=4, normalization="support")
    assert other.inner_steps == 4 and other.body is learner.body
    copies = [*other.start_variables, *other.inner_step_sizes]
    assert [float(one) for one in copies] == [float(one) for one in learned]
    copies[0].assign(0.1)
    assert float(learned[0]) != pytest.approx(0.1), "they are the other's own"


# ---- What is refused, and what a learner says of itself


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization": "batch"}, "normalization=batch: expected one of episode"),
        (RIDGE | {"inner_l2": 0.0}, "expected inner_l2 above 0"),
        ({"inner_steps": "auto"}, "inner_steps=auto: .*expected a number"),
        ({"inner_loss": "hinge"}, "inner_loss=hinge: expected one of cross_entropy"),
        (NIL | {"inner_loss": "squared_error"}, "A nil head needs classes.*free, zero or ridge"),
        ({"frozen_in_adaptation": "head"}, "leaves nothing to adapt"),
        (IMPLICIT | {"adapted_layers": 2}, "takes a head of one linear layer"),
        (IMPLICIT | NIL, "takes a head of one linear"),
        ({"inner_stepz": 3}, "Unrecognized keyword arguments.*inner_stepz"),
    ],
    ids=str,
)
def test_bad_options_are_refused_in_one_line(options, message):
    """What adaptation itself contradicts is refused by its config; the rest depends on the head."""
    with pytest.raises(ValueError, match=message) as raised:
        smooth_learner(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "layer", [keras.layers.LayerNormalization(), keras.layers.GroupNormalization(groups=1)]
)
def test_layers_whose_second_derivative_is_wrong_are_refused(layer):
    layers = [keras.layers.Dense(6), layer, keras.layers.Dense(WAYS)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    message = f"a {type(layer).__name__}, whose second derivative is wrong"
    with pytest.raises(ValueError, match=message):
        anil_tf.MetaLearner(*split(model, "all"))
    anil_tf.MetaLearner(*split(model, "all"), differentiation="first_order")
    anil_tf.MetaLearner(*split(model, 1))


def test_every_option_of_adaptation_is_an_attribute_and_a_setting():
    learner = smooth_learner(first_order=True, normalization="support")
    assert learner.differentiation == "first_order"
    names = set(options_of(Adaptation)) - {"first_order"}
    assert learner.settings().keys() == names | {"inner_loss", "ways", "seed"}
    for name in names:
        assert getattr(learner, name) == learner.settings()[name]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"inner_l2": 0.1}, {"adapted": "logits/kernel, logits/bias"}),
        ({"inner_l2": 0.1}, {"geometry": "strongly convex"}),
        ({"inner_l2": 0.1, "adapted_layers": 2}, {"geometry": "nonconvex"}),
        ({}, {"inner_steps": "3", "meta_gradient": "exact (explicit)"}),
        ({"differentiation": "first_order"}, {"meta_gradient": "first order"}),
        (
            {"differentiation": "truncated", "truncated_to": 1},
            {"meta_gradient": "truncated to the last 1 of 3 inner steps"},
        ),
        (
            {"differentiation": "truncated", "truncated_to": 5},
            {"meta_gradient": "exact (truncated to no fewer than all inner steps)"},
        ),
        (IMPLICIT, {"inner_steps": "to the minimum (newton, gradient below 1e-05)"}),
        ({"learned_inner_step_size": "scalar"}, {"inner_step_size": "0.3, learned as one scalar"}),
        (RIDGE, {"inner_steps": "none: closed form", "head": "ridge, 2 parameters"}),
    ],
    ids=str,
)
def test_description_says_what_is_adapted_and_how_that_is_differentiated(options, expected):
    assert expected.items() <= smooth_learner(**options).describe().items()


def test_boil_freezes_the_last_kernel_layer_and_what_follows_it():
    layers = [keras.layers.Dense(4), keras.layers.Dense(WAYS), keras.layers.LayerNormalization()]
    body, head = split(keras.Sequential([keras.Input((4,)), *layers]), 2)
    options = {"frozen_in_adaptation": "head", "differentiation": "first_order"}
    words = anil_tf.MetaLearner(body, head, **options).describe()
    assert words["adapted"] == ", ".join(v.path for v in layers[0].trainable_variables)
