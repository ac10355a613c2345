"""Options of commands that start from a finished run."""

import re

import pytest

from anil_tf.config import Evaluate, Export, InputError, flags


@pytest.fixture
def run(tmp_path):
    """Writes the flags.txt of a run with some options; returns its directory."""

    def make(*lines):
        settings = ["--ways=3", "--shots=2", "--seed=8", "--head=prototype", "--filters=4"]
        (tmp_path / "flags.txt").write_text("\n".join([*settings, "--run_dir=/moved", *lines]))
        return tmp_path

    return make


def read(cls, run_dir, *arguments):
    where = [f"--run_dir={run_dir}"] + (["--output_dir=out"] if cls is Export else [])
    return flags.read_command_line(cls, [*where, *arguments]).config


def test_options_are_those_of_the_run_unless_they_are_given(run):
    directory = run("--normalization=running", "--notrain_body", "--inner_l2=0.5")
    config = read(Evaluate, directory, "--shots=5", "--inner_steps=0")
    assert (config.ways, config.shots, config.inner_steps, config.filters) == (3, 5, 0, 4)
    assert config.run_dir == str(directory), "where it lies now, not where it was made"
    assert (config.normalization, config.train_body, config.inner_l2) == ("running", False, 0.5)
    assert config.seed == 0, "evaluation draws with a seed of its own"
    free = run("--head=free", "--training_ways=3")
    assert read(Evaluate, free, "--ways=4").ways == 4, "refused where the learner is known"
    directory = run("--normalization=running", "--notrain_body", "--inner_l2=0.5")
    assert config.given == {"run_dir", "shots", "inner_steps"}
    assert read(Export, directory).normalization == "support", "exports have their own default"
    assert read(Export, directory, "--normalization=running").normalization == "running"


@pytest.mark.parametrize(
    "lines",
    [
        ("--differentiation=implicit", "--inner_l2=1"),
        ("--differentiation=truncated", "--truncated_to=2"),
        ("--first_order",),
        ("--learned_inner_step_size=scalar",),
        ("--adapted_layers=all", "--frozen_in_adaptation=head"),
        ("--head=ridge", "--inner_l2=1"),
        ("--head=free",),
        ("--training_ways=9",),
    ],
)
def test_nil_is_put_on_any_run(run, lines):
    config = read(Evaluate, run(*lines), "--head=nil", "--ways=9")
    assert (config.head_initialization, config.ways) == ("nil", 9)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--filters=8", "--filters=8: part of the trained model"),
        ("--head=zero", "--head=zero: part of the trained model.*--ways, --shots, .*--inner_steps"),
        ("--mixed_precision", "--mixed_precision: part of the trained model"),
        ("--first_order", "--first_order: part of the trained model"),
        ("--inner_steps=auto", "--inner_steps=auto: measured where training begins.*a number"),
        ("--inner_step_size=auto", "--inner_step_size=auto: measured where training begins"),
        ("--split_seed=1", "--split_seed=1: .*trained on; expected --split_seed=0, or another"),
    ],
)
@pytest.mark.parametrize("cls", [Evaluate, Export])
def test_what_would_need_another_training_is_refused(run, cls, argument, said):
    with pytest.raises(InputError) as error:
        read(cls, run(), argument)
    line = error.value.on_command_line()
    assert re.search(said, line), line
    assert "\n" not in line


def test_what_the_run_has_already_may_be_said_again(run):
    config = read(Evaluate, run("--mixed_precision"), "--filters=4", "--mixed_precision")
    assert config.mixed_precision


def test_other_data_may_be_split_otherwise(run):
    directory = run("--dataset=image_folder", "--data_dir=/one")
    assert read(Evaluate, directory, "--data_dir=/two", "--split_seed=1").split_seed == 1
    assert read(Evaluate, directory, "--dataset=glyphs", "--split_seed=1").split_seed == 1


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        ("", "--run_dir=: expected a.* directory, received none"),
        ("/nowhere", "--run_dir=/nowhere: expected the directory of a run, which has a flags.txt"),
    ],
)
@pytest.mark.parametrize("cls", [Evaluate, Export])
def test_where_there_is_no_run_is_said(cls, directory, said):
    with pytest.raises(InputError) as error:
        read(cls, directory)
    assert re.search(said, error.value.on_command_line())
