"""The parts of `MetaLearner`, in reading order.

embedding.py           the body on the images of every task
inner_loop.py          the head adapted to every task
adapted_classifier.py  what `adapt` returns
dropout_seeds.py       from (seed, step, task)
replicated_model.py    Keras' training on several devices and machines
description.py         what is adapted, in words
"""
