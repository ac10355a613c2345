"""The outer loop: optimizers, checkpoints, exact resume, distribution, logs."""

from anil_tf.signals import Stopped as Stopped
from anil_tf.training import distribution as distribution
from anil_tf.training import optimizers as optimizers
from anil_tf.training.divergence import Diverged as Diverged
from anil_tf.training.optimizers import OuterOptimizer as OuterOptimizer
from anil_tf.training.run import Result as Result
from anil_tf.training.run import run as run
from anil_tf.training.run_directory import RunDirectory as RunDirectory
from anil_tf.training.trainer import Evaluation as Evaluation
from anil_tf.training.trainer import compile_learner as compile_learner
from anil_tf.training.trainer import meta_train as meta_train
