"""MetaLearner: exact meta-gradients, one computation however it is run, and Keras' services."""

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
    DESCENTS,
    QUERIES,
    TASKS,
    WAYS,
    conv_learner,
    loss_of,
    meta_batch,
    meta_gradient,
    precision,
    smooth_learner,
    tensors,
)


@pytest.fixture
def float64():
    with precision("float64"):
        yield


# Each head, each kind of step size, each number of adapted layers, with and without l2; not all of their products.
SETTINGS = [
    {},
    {"adapted_layers": "all", "inner_l2": 0.5},
    {"adapted_layers": 2, "learned_inner_step_size": "per_variable"},
    {"head_initialization": "prototype", "adapted_layers": 2},
    {"head_initialization": "prototype", "learned_inner_step_size": "scalar"},
    {"head_initialization": "zero", "learned_inner_step_size": "per_variable", "inner_l2": 0.5},
    {"frozen_in_adaptation": "head", "adapted_layers": "all"},
    {"inner_steps": 0},
    {"head_initialization": "ridge", "inner_l2": 0.5},
    {"head_initialization": "ridge", "inner_l2": 0.5, "adapted_layers": 2},
    {"head_initialization": "nil", "adapted_layers": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_meta_gradient_equals_central_differences(settings, float64):
    learner = smooth_learner(**settings)
    inputs, labels = tensors(meta_batch((4,)), tf.float64)
    gradients = tf.function(meta_gradient)(learner, inputs, labels)
    assert all(gradient is not None for gradient in gradients)
    loss = tf.function(lambda: loss_of(learner, inputs, labels))
    rng = np.random.default_rng(0)
    direction = [rng.normal(size=v.shape) for v in learner.trainable_variables]
    values = []
    for sign in (1, -1):
        for variable, along in zip(learner.trainable_variables, direction, strict=True):
            variable.assign_add(sign * 1e-5 * along)
        values.append(float(loss()))
        for variable, along in zip(learner.trainable_variables, direction, strict=True):
            variable.assign_add(-sign * 1e-5 * along)
    slope = (values[0] - values[1]) / 2e-5
    product = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
    assert float(product) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_first_order_is_the_gradient_at_the_adapted_head(float64):
    """FOMAML: dL_D/dw at w_N stands in for dL_D/dw_0, and phi counts in the query loss alone."""
    inputs, labels = tensors(meta_batch((4,), tasks=1), tf.float64)
    learner = smooth_learner(differentiation="first_order")
    images, classes = inputs["support_images"][0], inputs["support_labels"][0]
    state = learner.task_state(images, classes, WAYS)
    phi = learner.body_variables
    with tf.GradientTape() as tape:
        tape.watch(state.tensors)
        logits = learner.answer(inputs["query_images"][0], state)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels[0], logits=logits)
        )
    of_w, of_phi = tape.gradient(loss, [state.tensors, [v.value for v in phi]])
    expected = {
        id(v): g for v, g in zip([*phi, *learner.head_variables], [*of_phi, *of_w], strict=True)
    }
    gradients = meta_gradient(learner, inputs, labels)
    for variable, gradient in zip(learner.trainable_variables, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected[id(variable)], rtol=1e-9, atol=1e-12)


def test_a_zero_last_layer_hides_the_layers_below_it_at_the_first_step(float64):
    inputs, labels = tensors(meta_batch((4,)), tf.float64)
    images, classes = inputs["support_images"][0], inputs["support_labels"][0]
    for steps, moved in [(1, False), (2, True)]:
        learner = smooth_learner(adapted_layers=2, head_initialization="zero", inner_steps=steps)
        state = learner.task_state(images, classes, WAYS)
        change = np.abs(state.tensors[0] - learner.learned_head.trainable_variables[0]).max()
        assert (change > 0) == moved


@pytest.mark.parametrize(
    ("normalization", "adapted_layers"), [("episode", 1), ("support", 2), ("running", 2)]
)
def test_a_meta_batch_equals_its_tasks_one_by_one(normalization, adapted_layers):
    learner = conv_learner(adapted_layers, normalization=normalization)
    inputs, _ = tensors(meta_batch((16, 16, 1)), tf.float32)
    together = learner(inputs)
    for task in range(TASKS):
        alone = learner({name: value[task : task + 1] for name, value in inputs.items()})
        np.testing.assert_allclose(together[task], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("adapted_layers", [1, "all"])
def test_the_meta_gradient_is_the_mean_over_tasks(adapted_layers):
    learner = conv_learner(adapted_layers)
    inputs, labels = tensors(meta_batch((16, 16, 1)), tf.float32)
    compiled = tf.function(meta_gradient, reduce_retracing=True)
    together = compiled(learner, inputs, labels)
    each = [
        compiled(learner, {name: v[t : t + 1] for name, v in inputs.items()}, labels[t : t + 1])
        for t in range(TASKS)
    ]
    for whole, *parts in zip(together, *each, strict=True):
        np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "jit_compile"),
    [
        ({}, False),
        ({}, True),
        ({"head_initialization": "prototype"}, True),
        ({"head_initialization": "nil"}, True),
        ({"head_initialization": "ridge", "inner_l2": 1.0}, True),
        ({"differentiation": "implicit", "inner_l2": 0.1}, True),
    ],
    ids=str,
)
def test_compiled_equals_eager(options, jit_compile):
    learner = conv_learner(**options, ways=WAYS)
    inputs, labels = tensors(meta_batch((16, 16, 1)), tf.float32)
    eager = meta_gradient(learner, inputs, labels)
    compiled = tf.function(meta_gradient, jit_compile=jit_compile)(learner, inputs, labels)
    for one, other in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


# Algorithms on Conv4 and its batch normalisation. (How the meta-gradient is taken changes no answer.)
ALGORITHMS = DESCENTS | {
    "implicit": {"differentiation": "implicit", "inner_l2": 0.1},
    "ridge": {"head_initialization": "ridge", "inner_l2": 1.0},
    "ridge behind a layer": {
        "head_initialization": "ridge",
        "inner_l2": 1.0,
        "adapted_layers": 2,
    },
    "NIL": {"head_initialization": "nil"},
    "NIL of all layers": {"head_initialization": "nil", "adapted_layers": "all"},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_query_is_answered_whatever_its_neighbours(algorithm):
    """Two tasks of one support and one first query, among other queries: one answer, except under `episode`."""
    learner = conv_learner(**{"inner_steps": 1} | ALGORITHMS[algorithm])
    inputs, _ = tensors(meta_batch((16, 16, 1), tasks=2), tf.float32)
    support, labels = inputs["support_images"][:1], inputs["support_labels"][:1]
    query, others = inputs["query_images"][:1, :1], inputs["query_images"][:, 1:]
    pair = {
        "support_images": tf.repeat(support, 2, axis=0),
        "support_labels": tf.repeat(labels, 2, axis=0),
        "query_images": tf.concat([tf.repeat(query, 2, axis=0), others], axis=1),
    }
    for source in ("support", "running", "episode"):
        one, other = learner.replace(normalization=source)(pair)[:, 0]
        assert np.isfinite(one).all() and np.ptp(one) > 0
        apart = np.abs(one - other).max()
        assert apart > 1e-3 if source == "episode" else apart < 1e-5, source


@pytest.mark.parametrize(
    "head_initialization", [name for name, kind in HEADS.items() if kind.any_number_of_ways]
)
def test_symmetric_heads_ignore_the_order_of_classes_and_take_any_ways(head_initialization):
    learner = conv_learner(head_initialization=head_initialization, inner_l2=1.0)
    inputs, _ = tensors(meta_batch((16, 16, 1)), tf.float32)
    renamed = inputs | {"support_labels": (inputs["support_labels"] + 1) % WAYS}
    np.testing.assert_allclose(
        np.roll(learner(inputs), 1, axis=2), learner(renamed), rtol=1e-4, atol=1e-4
    )
    more, _ = tensors(meta_batch((16, 16, 1), ways=7), tf.float32)
    assert learner(more).shape == (TASKS, 7 * QUERIES, 7)
    wide = more | {"support_labels": tf.cast(more["support_labels"], tf.int64)}
    np.testing.assert_array_equal(learner(wide), learner(more))


def compiled_learner(**options):
    learner = conv_learner(**options)
    learner.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return learner


def dataset(seed=0, **options):
    inputs, labels = meta_batch((16, 16, 1), seed=seed, **options)
    inputs = {k: v.astype("float32") if v.dtype.kind == "f" else v for k, v in inputs.items()}
    return tf.data.Dataset.from_tensors((inputs, labels)).repeat()


def test_fit_learns_and_never_retraces():
    learner = compiled_learner(adapted_layers=2)
    traces = []
    call = learner.call
    learner.call = lambda inputs, training=False: (traces.append(training), call(inputs, training))[
        1
    ]
    history = learner.fit(dataset(), steps_per_epoch=5, epochs=4, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    learner.evaluate(dataset(), steps=2, verbose=0)
    learner.evaluate(dataset(seed=1), steps=2, verbose=0)
    assert traces.count(True) == 1 and traces.count(False) == 1


@pytest.mark.parametrize("normalization", ["episode", "running"])
def test_only_training_changes_variables(normalization):
    learner = compiled_learner(normalization=normalization, adapted_layers=2)
    before = learner.get_weights()
    inputs, labels = next(iter(dataset()))
    learner.evaluate(dataset(), steps=1, verbose=0)
    learner.predict(dataset(), steps=1, verbose=0)
    learner.adapt(inputs["support_images"][0], inputs["support_labels"][0])
    for old, new in zip(before, learner.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    learner.fit(dataset(), steps_per_epoch=1, verbose=0)
    moving = [v for v in learner.non_trainable_variables if "moving_mean" in v.path]
    assert len(moving) == 4 and all(np.abs(v).max() > 0 for v in moving)


@pytest.mark.parametrize(
    ("normalization", "adapted_layers", "head_initialization"),
    [("support", 1, "free"), ("support", 2, "prototype"), ("running", 2, "free")],
)
def test_adapt_answers_as_a_call_does(normalization, adapted_layers, head_initialization):
    learner = conv_learner(
        adapted_layers, normalization=normalization, head_initialization=head_initialization
    )
    inputs, _ = tensors(meta_batch((16, 16, 1)), tf.float32)
    classifier = learner.adapt(
        inputs["support_images"][0], inputs["support_labels"][0], normalization=normalization
    )
    np.testing.assert_allclose(
        classifier.predict_logits(inputs["query_images"][0]),
        learner(inputs)[0],
        rtol=1e-3,
        atol=1e-4,
    )


def test_adapt_takes_names_any_number_of_images_and_never_retraces():
    learner = conv_learner(head_initialization="prototype")
    inputs, _ = tensors(meta_batch((16, 16, 1)), tf.float32)
    support = inputs["support_images"][0]
    classifier = learner.adapt(support, ["ant", "ant", "cat", "cat", "bee", "bee"])
    assert classifier.classes.tolist() == ["ant", "bee", "cat"]
    many = np.concatenate([inputs["query_images"][0]] * 60)
    probabilities = classifier.predict(many)
    assert probabilities.shape == (360, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(classifier.predict(many[0]), probabilities[:1], atol=1e-5)
    assert (
        classifier.classify(many[:2]).tolist()
        == classifier.classes[probabilities[:2].argmax(1)].tolist()
    )
    learner.adapt(support[:4], [0, 1, 0, 1]).predict(many[:3])
    functions = learner.adaptation_functions["support"]
    assert functions.adapt.experimental_get_tracing_count() == 1
    assert functions.answer.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros([4, 16, 16, 3]), [0, 0, 1, 1], r"Expected images of shape \[count, 16, 16, 1\]"),
        (np.zeros([0, 16, 16, 1]), [], "count of 1 or more"),
        (np.zeros([4, 16, 16, 1]), [0, 1], "4 images and 2 labels"),
        (np.zeros([2, 16, 16, 1]), [1, 1], "two classes or more"),
    ],
)
def test_adapt_says_what_is_wrong(images, labels, message):
    with pytest.raises(ValueError, match=message):
        conv_learner(head_initialization="zero").adapt(images, labels)


def test_a_free_head_refuses_other_ways():
    with pytest.raises(ValueError, match="one learned row per class, 3 here. Received: 2"):
        conv_learner().adapt(np.zeros([2, 16, 16, 1]), [0, 1])


def test_a_saved_learner_trains_on(tmp_path):
    options = {"learned_inner_step_size": "per_variable", "head_initialization": "prototype"}
    learner = compiled_learner(**options, adapted_layers=2, normalization="running", inner_l2=0.1)
    learner.fit(dataset(), steps_per_epoch=2, verbose=0)
    learner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.settings() == learner.settings()
    inputs, _ = next(iter(dataset()))
    np.testing.assert_array_equal(learner(inputs), loaded(inputs))
    for one in (learner, loaded):
        one.fit(dataset(seed=1), steps_per_epoch=2, verbose=0)
    np.testing.assert_allclose(learner(inputs), loaded(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "algorithm", ["ridge behind a layer", "NIL of all layers", "implicit", "truncated"]
)
def test_adaptation_survives_saving_and_takes_any_ways(algorithm, tmp_path):
    """Of a learner that is saved, loaded, and given tasks one by one, of other ways where its head allows."""
    truncated = {"differentiation": "truncated", "truncated_to": 1, "head_initialization": "zero"}
    learner = conv_learner(
        **(ALGORITHMS | {"truncated": truncated})[algorithm], normalization="support"
    )
    for variable in learner.start_variables:
        variable.assign(variable + 0.5)
    learner.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.settings() == learner.settings()
    assert loaded.get_config().keys() == learner.get_config().keys()
    for ways in (WAYS, 5) if learner.adapted_head.rows is None else (WAYS,):
        inputs, _ = tensors(meta_batch((16, 16, 1), tasks=1, ways=ways), tf.float32)
        expected = learner(inputs)
        np.testing.assert_array_equal(loaded(inputs), expected)
        adapted = loaded.adapt(inputs["support_images"][0], inputs["support_labels"][0])
        logits = adapted.predict_logits(inputs["query_images"][0])
        np.testing.assert_allclose(logits, expected[0], rtol=1e-3, atol=1e-4)


def test_any_learner_becomes_nil_on_the_same_body():
    inputs, _ = tensors(meta_batch((16, 16, 1), ways=5), tf.float32)
    expected = conv_learner(head_initialization="nil")(inputs)
    assert HEADS["nil"].fits_any_body
    for algorithm in ("ANIL", "ANIL, prototype", "implicit", "ridge"):
        nil = conv_learner(**ALGORITHMS[algorithm]).replace(
            head_initialization="nil", differentiation="explicit"
        )
        np.testing.assert_array_equal(nil(inputs), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"head_initialization": "ridge", "inner_l2": 2.0},
        {"head_initialization": "prototype", "learned_inner_step_size": "scalar"},
    ],
    ids=str,
)
def test_replace_shares_weights_and_copies_what_is_learned_beside_them(options):
    learner = conv_learner(**options)
    learned = [*learner.start_variables, *learner.inner_step_sizes]
    for variable in learned:
        variable.assign(variable + 0.5)
    other = learner.replace(inner_steps=4, normalization="support")
    assert other.inner_steps == 4 and other.body is learner.body
    copies = [*other.start_variables, *other.inner_step_sizes]
    assert [float(one) for one in copies] == [float(one) for one in learned]
    copies[0].assign(0.1)
    assert float(learned[0]) != pytest.approx(0.1), "they are the other's own"


def test_dropout_draws_from_seed_and_step_and_is_off_elsewhere():
    def learner(seed):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(8),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(WAYS),
            ]
        )
        made = anil_tf.MetaLearner(*split(model, 2), inner_steps=2, seed=seed)
        made.compile(optimizer=keras.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
        return made

    inputs, _ = tensors(meta_batch((4,)), tf.float32)
    assert smooth_learner()(inputs, training=True).shape == (TASKS, WAYS * QUERIES, WAYS)
    one, same, other = learner(0), learner(0), learner(1)
    np.testing.assert_array_equal(one(inputs, training=True), one(inputs, training=True))
    np.testing.assert_array_equal(one(inputs, training=True), same(inputs, training=True))
    assert np.abs(one(inputs, training=True) - other(inputs, training=True)).max() > 1e-4
    assert np.abs(one(inputs, training=True) - one(inputs)).max() > 1e-4
    before = one(inputs, training=True).numpy()
    one.optimizer.iterations.assign_add(1)
    assert np.abs(one(inputs, training=True) - before).max() > 1e-4
    twice = {name: tf.concat([value[:1], value[:1]], axis=0) for name, value in inputs.items()}
    first, second = one(twice, training=True)
    assert np.abs(first - second).max() > 1e-4


IMPLICIT = {"differentiation": "implicit"}
RIDGE = {"head_initialization": "ridge", "inner_l2": 1.0}
NIL = {"head_initialization": "nil"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization": "batch"}, "normalization=batch: expected one of episode"),
        (RIDGE | {"inner_l2": 0.0}, "expected inner_l2 above 0"),
        ({"inner_steps": "auto"}, "inner_steps=auto: .*expected a number"),
        ({"inner_loss": "hinge"}, "inner_loss=hinge: expected one of cross_entropy"),
        (NIL | {"inner_loss": "squared_error"}, "A nil head needs classes.*free, zero or ridge"),
        ({"frozen_in_adaptation": "head"}, "leaves nothing to adapt"),
        (IMPLICIT | {"adapted_layers": 2, "inner_l2": 1.0}, "takes a head of one linear layer"),
        (IMPLICIT | NIL | {"inner_l2": 1.0}, "takes a head of one linear"),
        ({"inner_stepz": 3}, "Unrecognized keyword arguments.*inner_stepz"),
    ],
    ids=str,
)
def test_bad_options_are_refused_in_one_line(options, message):
    """What adaptation itself contradicts is refused by its config; the rest depends on the head."""
    with pytest.raises(ValueError, match=message) as raised:
        conv_learner(**options)
    assert "\n" not in str(raised.value)


def test_every_option_of_adaptation_is_an_attribute_and_a_setting():
    learner = conv_learner(first_order=True, normalization="support")
    assert learner.differentiation == "first_order"
    names = set(options_of(Adaptation)) - {"first_order"}
    assert learner.settings().keys() == names | {"inner_loss", "ways", "seed"}
    for name in names:
        assert getattr(learner, name) == learner.settings()[name]


def test_description_names_layers_and_geometry():
    words = conv_learner(inner_l2=0.1).describe()
    assert words["adapted"] == "logits/kernel, logits/bias"
    assert words["geometry"] == "strongly convex"
    assert conv_learner(2, inner_l2=0.1).describe()["geometry"] == "nonconvex"
    bent = keras.Sequential([keras.Input((4,)), keras.layers.Dense(WAYS, activation="relu")])
    body, head = split(bent, 1)
    assert anil_tf.MetaLearner(body, head, inner_l2=0.1).describe()["geometry"] == "nonconvex"


def test_implicit_needs_one_linear_layer_whatever_stands_before_it():
    layers = [keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(WAYS)]
    parts = split(keras.Sequential([keras.Input((4, 4, 1)), *layers]), 1)
    assert anil_tf.MetaLearner(*parts, **IMPLICIT, inner_l2=0.1).differentiation == "implicit"
    parts = split(keras.Sequential([keras.Input((4, 4, 1)), *layers]), 2)
    with pytest.raises(ValueError, match="takes a head of one linear layer"):
        anil_tf.MetaLearner(*parts, **IMPLICIT, inner_l2=0.1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"inner_steps": "2", "meta_gradient": "exact (explicit)"}),
        ({"differentiation": "first_order"}, {"meta_gradient": "first order"}),
        (
            {"differentiation": "truncated", "truncated_to": 1},
            {"meta_gradient": "truncated to the last 1 of 2 inner steps"},
        ),
        (
            {"differentiation": "truncated", "truncated_to": 5},
            {"meta_gradient": "exact (truncated to no fewer than all inner steps)"},
        ),
        (
            IMPLICIT | {"inner_l2": 0.1},
            {"inner_steps": "to the minimum (newton, gradient below 1e-05)"},
        ),
        ({"learned_inner_step_size": "scalar"}, {"inner_step_size": "0.1, learned as one scalar"}),
        (RIDGE, {"inner_steps": "none: closed form", "head": "ridge, 2 parameters"}),
    ],
    ids=str,
)
def test_description_says_how_adaptation_is_differentiated(options, expected):
    assert expected.items() <= conv_learner(**options).describe().items()


def test_boil_freezes_the_last_kernel_layer_and_what_follows_it():
    layers = [keras.layers.Dense(4), keras.layers.Dense(WAYS), keras.layers.LayerNormalization()]
    body, head = split(keras.Sequential([keras.Input((4,)), *layers]), 2)
    options = {"frozen_in_adaptation": "head", "differentiation": "first_order"}
    words = anil_tf.MetaLearner(body, head, **options).describe()
    assert words["adapted"] == ", ".join(v.path for v in layers[0].trainable_variables)


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
    if learner.has_inner_loop:
        start = np.mean((learner.replace(inner_steps=0)(inputs) - 2 * x) ** 2)
        assert loss < start
    else:
        assert loss < 1e-2
    predicted = learner.adapt(x[0], 2 * x[0]).predict(x[0])
    np.testing.assert_allclose(predicted, outputs[0], atol=1e-4)


def test_tasks_need_a_number_of_steps():
    tasks = type("Tasks", (), {"as_dataset": staticmethod(dataset)})()
    learner = compiled_learner()
    with pytest.raises(ValueError, match="steps_per_epoch is needed"):
        learner.fit(tasks)
    with pytest.raises(ValueError, match="Tasks never end, so steps is needed"):
        learner.evaluate(tasks)
    with pytest.raises(ValueError, match="validation_steps is needed"):
        learner.fit(tasks, steps_per_epoch=1, validation_data=tasks)


def test_xla_is_not_chosen_where_its_second_derivative_is_wrong():
    """TensorFlow's compiled second derivative of max pooling errs among close maxima."""
    model = conv4(input_shape=(16, 16, 1), classes=WAYS, filters=4)
    smooth = conv4(input_shape=(16, 16, 1), classes=WAYS, filters=4, pooling="average")

    def learner_of(model, adapted_layers="all", **options):
        learner = anil_tf.MetaLearner(*split(model, adapted_layers), **options)
        learner.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
        return learner

    for learner in (
        learner_of(smooth),
        learner_of(model, 1),
        learner_of(model, differentiation="first_order"),
    ):
        assert learner.jit_compile
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        assert not learner_of(model).jit_compile


def test_a_learner_saved_with_first_order_is_read_as_what_it_was():
    learner = smooth_learner(differentiation="first_order")
    for first_order, expected in [(True, "first_order"), (False, "explicit")]:
        config = learner.get_config() | {"first_order": first_order}
        del config["differentiation"]
        assert anil_tf.MetaLearner.from_config(config).differentiation == expected


@pytest.mark.parametrize("layer", ["LayerNormalization", "GroupNormalization"])
def test_layers_whose_second_derivative_is_wrong_are_refused(layer):
    inputs = keras.Input((4,))
    options = {"groups": 1} if layer == "GroupNormalization" else {}
    normalized = getattr(keras.layers, layer)(**options)(keras.layers.Dense(6)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(WAYS)(normalized))
    with pytest.raises(ValueError, match=f"a {layer}, whose second derivative is wrong"):
        anil_tf.MetaLearner(*split(model, "all"))
    anil_tf.MetaLearner(*split(model, "all"), differentiation="first_order")
    anil_tf.MetaLearner(*split(model, 1))


def test_a_label_beyond_the_ways_is_refused():
    learner = smooth_learner(head_initialization="zero", ways=2)
    inputs, _ = tensors(meta_batch((4,)), tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="below the number of ways"):
        learner(inputs)


def test_a_mixed_policy_for_all_leaves_adaptation_exact():
    """Body and head in bfloat16 by a global policy: what joins them, and the logits, stay float32."""
    inputs, _ = tensors(meta_batch((16, 16, 1)), tf.float32)
    with precision("mixed_bfloat16"):
        learner = conv_learner()
        assert learner(inputs).dtype == tf.float32
        assert conv_learner(2)(inputs).dtype == tf.float32
    assert learner.body.compute_dtype == "bfloat16"


def test_a_frozen_layer_among_the_adapted_ones_stays():
    keras.utils.set_random_seed(1)
    model = conv4(input_shape=(16, 16, 1), classes=WAYS, filters=4)
    [layer for layer in model.layers if "batch" in layer.name][-1].trainable = False
    learner = anil_tf.MetaLearner(*split(model, 2))
    inputs, labels = tensors(meta_batch((16, 16, 1)), tf.float32)
    gradients = tf.function(meta_gradient)(learner, inputs, labels)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
