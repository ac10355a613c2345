"""A function as a StableHLO program: what goes in and comes out, and that it is portable."""

import numpy as np
import pytest
import tensorflow as tf

from anil_tf.deploy.compiled_program import compile_program


@pytest.fixture(scope="module")
def program():
    weight, offset = tf.Variable(np.eye(3, dtype="f4"), name="weight"), tf.Variable([1.0, 2.0, 3.0])
    unused = tf.Variable(4.0)

    def step(x, y):
        value = tf.reduce_sum(tf.matmul(x, weight) + offset) + tf.cast(y, tf.float32)
        offset.assign_add(tf.ones(3))
        return value

    arguments = {"x": np.zeros((2, 3), "f4"), "y": np.int32(1)}
    return compile_program(step, arguments), weight, offset, unused


def test_parameters_are_the_arguments_then_the_variables_that_are_used(program):
    program, weight, offset, unused = program
    assert {id(v) for v in program.variables} == {id(weight), id(offset)}
    assert id(unused) not in {id(v) for v in program.variables}
    signature = program.text.partition("func.func @main(")[2].partition(") -> ")[0]
    assert signature.count("%arg") == 4
    assert "tensor<2x3xf32>" in signature and "tensor<i32>" in signature


def test_each_changed_variable_has_a_result(program):
    program, _, offset, _ = program
    assert [program.variables[position] for position in program.updated] == [offset]


def test_the_variables_are_as_they_were(program):
    np.testing.assert_array_equal(program[2], [1.0, 2.0, 3.0])


def test_the_text_is_stablehlo_and_says_full_float32(program):
    text = program[0].text
    assert "mhlo.copy" not in text and "stablehlo.dot" in text
    assert "HIGHEST" in text and "DEFAULT" not in text


def test_the_switch_of_tensorfloat32_is_as_it_was():
    assert tf.config.experimental.tensor_float_32_execution_enabled()


def test_a_shape_that_depends_on_a_value_is_refused():
    with pytest.raises(ValueError, match="needs to know the others when it is compiled"):
        compile_program(
            lambda x, n: tf.reduce_sum(tf.zeros([n])) + x, {"x": np.float32(1), "n": np.int32(2)}
        )
