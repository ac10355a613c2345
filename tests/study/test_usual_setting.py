"""The setting of the experiments that vary something other than the inner loop."""

import numpy as np
import pandas as pd
import pytest

from anil_tf.study import usual_setting
from anil_tf.study.experiment import Data
from anil_tf.study.scale import SCALES

DATA = Data("fc100", "somewhere")


def test_methods_differ_by_what_adapts_and_by_the_engine_alone():
    anil, maml = (
        usual_setting.settings(SCALES["small"], DATA, seed=3, method=method)
        for method in ("ANIL", "MAML")
    )
    different = {key for key in anil if anil[key] != maml[key]}
    assert different == {"adapted_layers", "differentiation"}
    assert (anil["adapted_layers"], maml["adapted_layers"]) == (1, "all")
    assert anil["seed"] == 3 and anil["data_dir"] == "somewhere"


def test_changes_win():
    changed = usual_setting.settings(SCALES["small"], DATA, seed=0, shots=1, meta_steps=7)
    assert (changed["shots"], changed["meta_steps"]) == (1, 7)


@pytest.mark.parametrize(("name", "steps"), [("smoke", 4), ("small", 60), ("full", 1000)])
def test_short_runs_are_a_fifth_and_at_full_scale_all_of_it(name, steps):
    assert usual_setting.short_run(SCALES[name]) == steps


def test_alpha_stands_beside_the_curvature_of_the_start_and_of_the_end():
    rows = pd.DataFrame(
        [
            {"seed": seed, "meta_step": step, "smoothness_max": 40.0, "smoothness": smoothness}
            for seed in (1, 2)
            for step, smoothness in ((60, 20.0 + seed), (0, 40.0), (12, np.nan))
        ]
    )
    found = usual_setting.curvature(rows)
    assert found["alpha"] == 0.05
    assert found["L at the start"].center == 40.0 and found["2/L at the start"].center == 0.05
    assert found["L at the end"].center == 21.5
    assert usual_setting.curvature(rows[["seed", "meta_step"]]) == {}


def test_a_run_without_a_last_curvature_has_none():
    rows = pd.DataFrame({"seed": 1, "meta_step": [0, 60], "smoothness_max": 40.0})
    found = usual_setting.curvature(rows.assign(smoothness=[40.0, np.nan]))
    assert np.isnan(found["L at the end"].center)
