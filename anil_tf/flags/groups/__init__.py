"""The tables of flags: every flag of every binary, with its default, accepted values and help.

    data.py        where tasks come from
    learner.py     the network, and how it adapts
    training.py    the outer loop, and the run's directory
    measuring.py   evaluation, and the benchmark
    study.py       the paper's experiments
    tuning.py      the search of settings
    deployment.py  the export, and its page

Nothing here but data; `GROUPS` is all of it, by the name that a binary asks for.
"""

from anil_tf.flags.description import Group
from anil_tf.flags.groups.data import DATA
from anil_tf.flags.groups.deployment import DEMO, EXPORT
from anil_tf.flags.groups.learner import LEARNER
from anil_tf.flags.groups.measuring import BENCHMARK, EVALUATION
from anil_tf.flags.groups.study import STUDY
from anil_tf.flags.groups.training import OUTER_LOOP, RUN
from anil_tf.flags.groups.tuning import TUNING

GROUPS: dict[str, Group] = {
    "data": DATA,
    "learner": LEARNER,
    "outer_loop": OUTER_LOOP,
    "run": RUN,
    "evaluation": EVALUATION,
    "study": STUDY,
    "tuning": TUNING,
    "export": EXPORT,
    "demo": DEMO,
    "benchmark": BENCHMARK,
}
