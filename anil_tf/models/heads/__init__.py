"""Heads: where a task's adaptation starts, and how the adapted head is applied. One class each.

    base.py             what every head does
    free.py             one learned row per class, as in the published results and in the convergence study
    from_examples.py    a last layer that starts from the task's own examples; any number of classes, in any order:
    zero.py             ... at zero
    prototype.py        ... at the class means, at a learned scale
    ridge.py            ... at the ridge regression on the examples, where it stays
    cosine.py           ... no last layer: the class mean of the smallest angle

Their names in settings, and what settings must know of them: `anil_tf/config/heads.py`.
"""
