"""How good a learner is, how sure that is, and the page that says so.

`evaluate` and `compare` give numbers with intervals; `calibration` says what confidences are worth;
`protocol` says what a number means; `card` and `figures` show it all to people.
"""

from anil_tf.evaluation.accuracy import (
    Comparison,
    Evaluation,
    compare,
    evaluate,
    evaluate_predictions,
)

__all__ = ["Comparison", "Evaluation", "compare", "evaluate", "evaluate_predictions"]
