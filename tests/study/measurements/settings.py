"""Settings of the smallest frozen point: three drawn characters, a smooth body of two filters."""

SETTINGS = {
    "dataset": "glyphs",
    "data_dir": None,
    "body": "smooth_conv4",
    "filters": 2,
    "ways": 3,
    "shots": 1,
    "queries": 1,
    "meta_batch_size": 2,
    "head": "linear",
    "inner_l2": 0.5,
    "seed": 0,
}
