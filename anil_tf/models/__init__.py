"""Keras bodies and heads, and the cut between them."""

from anil_tf.models.applications import applications as applications
from anil_tf.models.conv4 import conv4 as conv4
from anil_tf.models.mlp import mlp as mlp
from anil_tf.models.resnet12 import resnet12 as resnet12
from anil_tf.models.split import split as split
