"""anil_tf: meta-learning with ANIL for Keras. Adapt the head, share the body."""

import importlib.util

if importlib.util.find_spec("tensorflow"):  # exported models run where it is not installed
    from anil_tf import episodes as episodes
    from anil_tf import models as models
    from anil_tf.meta_learner import MetaLearner as MetaLearner

__version__ = "0.1.0"
