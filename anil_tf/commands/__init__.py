"""The commands: train, evaluate, tune, export, demo, reproduce and benchmark, each a function of a config.

Each is a module of its own with a function of its own name; `launcher.py` starts one from a command line.
"""
