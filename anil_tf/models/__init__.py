"""Keras bodies and heads, and the cut between them."""

from anil_tf.models.applications import applications as applications
from anil_tf.models.conv4 import conv4 as conv4
from anil_tf.models.mlp import mlp as mlp
from anil_tf.models.precision import compute_in_bfloat16 as compute_in_bfloat16
from anil_tf.models.resnet12 import resnet12 as resnet12
from anil_tf.models.smooth_conv4 import smooth_conv4 as smooth_conv4
from anil_tf.models.split import split as split
