"""Steps served by another process, and what is said when it fails."""

import sys

import pytest

from benchmarks.worker import Worker

MIB = 2**20
SCRIPT = """
import os, sys, time

print("a library that prints on import")
held = bytearray(300 * 2**20)  # touched, and given back before anything is built
del held

sys.path.insert(0, sys.argv[1])
from benchmarks import worker


def counting():
    builds.append(1)
    losses = iter(range(100))

    def step():
        print("chatter in Python")
        os.system("printf '{} and chatter below Python'")
        return next(losses) + 100 * len(builds)

    return step


def failing():
    sys.stderr.write("step, " * 1000 + "the floor creaks\\n")
    raise ValueError("two\\nlines")


def dying():
    sys.stderr.write("out of patience\\n")
    sys.stderr.flush()
    os._exit(3)


def sleeping():
    return lambda: time.sleep(0.02) or 0.0


def hungry():
    return lambda: float(len(bytearray(64 * 2**20)))


builds = []
worker.serve(
    {"counting": counting, "failing": failing, "dying": dying, "sleeping": sleeping, "hungry": hungry},
    {"threads": 2},
)
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory, repository):
    script = tmp_path_factory.mktemp("worker") / "toy_steps.py"
    script.write_text(SCRIPT)
    return sys.executable, script, str(repository)


@pytest.fixture
def toy(command):
    with Worker(*command) as worker:
        yield worker


def test_a_step_goes_on_until_it_is_forgotten_and_its_first_loss_is_that_of_a_fresh_build(toy):
    def last_loss(repeats):
        return toy._ask("time", step="counting", repeats=repeats)["loss"]

    assert last_loss(2) == 101  # first build, second step
    assert last_loss(1) == 102
    assert toy.loss("counting") == 200  # second build, first step
    assert last_loss(1) == 203  # the first build goes on; its losses add the number of builds
    toy.forget("counting")
    assert last_loss(1) == 300


def test_the_peak_counts_what_a_step_gave_back_and_not_what_came_before(toy):
    found = toy.peak_memory("hungry", repeats=2)
    grown = found["peak"] - found["before"]
    assert grown >= 60 * MIB
    if _can_reset_the_peak():
        assert grown <= 120 * MIB, "two steps, or the import, were counted"


def test_repeats_are_timed_python_is_named_and_the_process_ends_with_its_input(toy):
    seconds = toy.time("sleeping", repeats=3)
    assert len(seconds) == 3 and min(seconds) >= 0.02
    assert toy.describe() == {"python": sys.version.split()[0], "threads": 2}
    toy._process.stdin.close()
    assert toy._process.wait(timeout=10) == 0


FAILURES = [
    (
        lambda toy: toy.loss("failing"),
        ["toy_steps.py failed at 'loss failing': ValueError: two lines", "the floor creaks"],
    ),
    (lambda toy: toy.loss("missing"), ["expected one of counting, failing", "received 'missing'"]),
    (lambda toy: toy.time("counting", repeats=0), ["repeats: expected 1 or more, received 0"]),
    (lambda toy: toy._ask("dance"), ["expected one of time, loss, memory", "received 'dance'"]),
    (
        lambda toy: toy.time("dying", repeats=1),
        ["ended with code 3 and no answer to 'time dying 1'", "out of patience"],
    ),
]


def test_a_failure_is_one_line_that_says_what_and_where_and_the_process_works_on(toy):
    for number, (ask, parts) in enumerate(FAILURES):
        with pytest.raises(RuntimeError) as raised:
            ask(toy)
        message = str(raised.value)
        assert "\n" not in message and len(message) < 1000
        for part in parts:
            assert part in message
        if number < len(FAILURES) - 1:
            assert toy.loss("counting") == 100 * (number + 1)


def test_a_script_that_cannot_start_says_why(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("import no_such_framework")
    with Worker(sys.executable, script) as worker:
        for _ in range(2):  # the second request finds nobody to take it
            with pytest.raises(RuntimeError, match="code 1 .*No module named 'no_such_framework'"):
                worker.describe()
        process = worker._process
    assert process.poll() is not None
    with pytest.raises(RuntimeError, match="not running"):
        worker.describe()


def _can_reset_the_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True
