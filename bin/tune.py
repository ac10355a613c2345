"""Starts `anil_tf tune` in a clone: python bin/tune.py --help lists its flags."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from anil_tf.commands.launcher import launch

if __name__ == "__main__":
    sys.exit(launch("tune"))
