"""What the experiment `predictions` is made of.

Each module holds the cells, claims, pictures and tables of some of P1
to P10, and is read beside the runner of the same name in `anil_tf/study/measurements/`; `shared.py` is for all.
"""
