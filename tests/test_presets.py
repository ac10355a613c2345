"""The presets: every line is a flag that the run takes, and each says how it is run."""

import json

from tests.launched import launched


def test_presets_parse_and_say_how_they_are_run(repository):
    presets = sorted((repository / "bin" / "presets").glob("*.flags"))
    assert {preset.stem for preset in presets} >= {
        "quickstart",
        "omniglot_5way_1shot",
        "omniglot_20way_1shot",
        "fc100_5way_5shot",
        "cifar_fs_5way_5shot",
        "cifar_fs_5way_1shot",
        "mini_imagenet_5way_5shot",
        "fc100_5way_5shot_maml",
        "nil_at_test",
    }
    for preset in presets:
        text = preset.read_text()
        for heading in ("# Command:", "# Time:", "# Accuracy:"):
            assert heading in text, preset.name
        assert f"--flagfile=bin/presets/{preset.name} " in text
        code, output, error = launched(repository, f"--flagfile={preset}")
        assert code == 0, error
        given = {line for line in text.splitlines() if line.startswith("--")}
        assert given <= set(json.loads(output).values()), preset.name
