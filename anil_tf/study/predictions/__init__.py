"""The ten predictions of the theory, P1 to P10: each says what is run, judged and drawn for it.

`prediction.py` holds what they share; the other files hold a group each, and are read beside the runner of the same
name in `anil_tf/study/measurements/`. `experiments/predictions.py` puts them together.
"""
