"""anil_tf: meta-learning with ANIL for Keras. Adapt the head, share the body."""

import importlib.util
import os

# TensorFlow reads it when it is imported. By itself it takes oneDNN only on CPUs with AVX-512 VNNI or AMX; on others
# that makes a meta-step 1.6 to 2.2 times as fast, too (benchmarks/NOTES.md). A user's own setting stays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if importlib.util.find_spec("tensorflow"):  # exported models run where it is not installed
    from anil_tf import episodes as episodes
    from anil_tf import models as models
    from anil_tf.meta_learner import MetaLearner as MetaLearner

__version__ = "0.1.0"
