"""Tuning: which settings of a training answer best, searched by KerasTuner on validation episodes.

Read in this order:

    search_space.py      the settings that are searched, and the values that each may take
    objective.py         what a trial is scored by: validation accuracy with its interval
    oracles.py           who proposes the next setting: KerasTuner's oracles, with a budget and a memory that a kill
                         cannot spoil
    search.py            trial after trial, alone or as one worker of several
    distributed.py       chief and workers: who is who, and how long they wait for each other
    trials.py            what was found, as a table
    plots.py             the same as pictures
    report.py            what is shown meanwhile, and what is left behind
    search_directory.py  where all this lies, and whose it is

A trial is any function from settings to a score; bin/tune.py passes one that meta-trains.
"""
