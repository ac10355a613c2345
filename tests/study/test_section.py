import pytest

from anil_tf.study import page
from anil_tf.study.claims import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED
from anil_tf.study.section import standing
from tests.study.sections import ABOUT, DESIGN, headline, section


def test_what_a_scale_does_not_run_neither_counts_nor_is_told():
    small = section(verdicts=(INCONCLUSIVE, SUPPORTED), reasons=(*DESIGN, ""))
    long = section(verdicts=(INCONCLUSIVE, INCONCLUSIVE), reasons=("not run", ""), scale="long")
    found = {claim.claim: (at, claim.reason) for at, claim in standing([small, long])}
    assert found == {
        "Claim 0 of strongly_convex.": (0, DESIGN[0]),
        "Claim 1 of strongly_convex.": (1, ""),
    }
    first, again = page.render([small, long], ABOUT).split("## 2. ")
    assert "Claim 0" in first and "Claim 0" not in again and "Claim 1" in again
    assert "were not run" in again and "were not run" not in first


def test_a_claim_counts_once_on_each_data_set_which_is_then_named():
    one = section("advice", (SUPPORTED,), key="as_good")
    other = section("advice", (INCONCLUSIVE,), key="as_good", dataset="omniglot", folder="other")
    text = page.render([one, other], ABOUT)
    row = headline([one, other], "An inner loop that is measured")

    assert row[2] == "✓ **supported** (1 of 2)<br>? **inconclusive** (1 of 2)"
    number = "1.00 s (0.50 to 1.50), 3 seeds"
    assert row[3] == f"*number 0*<br>✓ fc100: {number}<br>? omniglot: {number}"
    assert row[4] == "[1](#1-advice), [2](#2-advice)"
    assert "## 2. About advice (on omniglot)\n\nThe same question, on omniglot." in text
    assert headline([one], "An inner loop that is measured")[3] == f"number 0: {number}"


@pytest.mark.parametrize("order", [1, -1])
def test_a_claim_counts_once_as_the_longest_scale_that_can_decide_it_found(order):
    small = section(verdicts=(SUPPORTED, SUPPORTED, INCONCLUSIVE, SUPPORTED), reasons=("",) * 4)
    long = section(
        verdicts=(NOT_SUPPORTED, INCONCLUSIVE, INCONCLUSIVE),
        reasons=("", *DESIGN * 2),
        scale="long",
    )
    shown = [small, long][::order]
    found = {
        claim.claim: (shown[at].about["scale"], claim.verdict) for at, claim in standing(shown)
    }
    assert len(standing(shown)) == len(found) == 4
    assert list(dict(sorted(found.items())).values()) == [
        ("long", NOT_SUPPORTED),
        ("small", SUPPORTED),
        ("small", INCONCLUSIVE),
        ("small", SUPPORTED),
    ]
    text = page.render(shown, ABOUT)
    assert "Of 4 claims: 2 supported, 1 not supported and 1 inconclusive." in text
    assert "counts once" in text and "counts once" not in page.render([small], ABOUT)
