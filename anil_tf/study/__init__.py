"""The paper's experiments: grids of small runs, claims judged by rules fixed beforehand, figures and reports.

An experiment (`experiment.py`) says which cells to run and how to judge, draw and tabulate their rows; a cell
(`cell.py`) is one run; `grid.py` runs cells, `results.py` makes one table of them.
"""
