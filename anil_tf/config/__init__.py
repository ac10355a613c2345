"""What a run is, as values: frozen dataclasses of options, checked when they are made.

    option.py      one option, and the dataclass made of options
    data.py        where tasks come from
    network.py     body and head
    adaptation.py  the inner loop; `MetaLearner` holds it
    heads.py       what is to be known of each kind of head before it is built
    outer_loop.py  how the initial weights are learned
    training.py    all of these, which is a training
    finished_run.py  commands that start from a finished run
    search.py      what a search tries
    study.py       the paper's experiments
    commands.py    the options of each command, made of these parts
    flags.py       configs from command lines, and --help
    flagfile.py    configs as lines of a flagfile, written and read back
    errors.py      bad input, and exit codes

Imports nothing else of the package, and no TensorFlow.
"""

from anil_tf.config import flagfile as flagfile
from anil_tf.config.adaptation import Adaptation as Adaptation
from anil_tf.config.commands import Benchmark as Benchmark
from anil_tf.config.commands import Demo as Demo
from anil_tf.config.commands import Evaluate as Evaluate
from anil_tf.config.commands import Export as Export
from anil_tf.config.commands import Reproduce as Reproduce
from anil_tf.config.commands import Train as Train
from anil_tf.config.commands import Tune as Tune
from anil_tf.config.errors import InputError as InputError
from anil_tf.config.option import Choices as Choices
from anil_tf.config.option import Config as Config
from anil_tf.config.option import Range as Range
from anil_tf.config.option import input_errors as input_errors
from anil_tf.config.option import options as options
from anil_tf.config.training import Training as Training
