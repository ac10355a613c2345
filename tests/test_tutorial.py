"""The code of docs/tutorial.md runs, and what it claims about its own results holds."""

import re
from pathlib import Path

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"


def test_the_tutorial_runs():
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    assert len(blocks) >= 8
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(TUTORIAL), "exec"), names)  # noqa: S102
    assert names["history"].history["loss"][-1] < names["history"].history["loss"][0]
    assert names["result"].accuracy > 0.5  # 0.2 is chance
    assert names["classifier"].classes.tolist() == sorted(names["names"])
