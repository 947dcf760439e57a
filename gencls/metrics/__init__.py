"""Measures of observers, each with its uncertainty: accuracy, shape bias, error consistency, the
benchmark's table.

Every measure takes trial tables (pandas) and returns an `Estimate`, a float with `low`, `high` and `n`.
"""

from gencls.metrics.agreement import kappa_bounds
from gencls.metrics.benchmark import LEFT_OUT, benchmark_table, is_person, kept
from gencls.metrics.bootstrap import Bootstrap
from gencls.metrics.calibration import expected_calibration_error
from gencls.metrics.comparisons import (
    compare_accuracy,
    compare_all,
    compare_error_consistency,
    compare_shape_bias,
    holm,
    independence_p,
    mean_shape_bias_difference,
    shape_bias_contrast,
)
from gencls.metrics.consistency import (
    accuracy_difference,
    error_consistency,
    observed_consistency,
    pairwise_consistency,
)
from gencls.metrics.copying import (
    CopyModel,
    accuracy_difference_trials,
    copy_model,
    joint_probabilities,
    kappa_difference_power,
    kappa_difference_trials,
    kappa_half_width,
    kappa_power,
    kappa_trials,
)
from gencls.metrics.estimates import Estimate, mean_over_people, to_frame
from gencls.metrics.observers import accuracy, confusion, each, response_entropy
from gencls.metrics.shape import decisions, shape_bias

__all__ = [
    "LEFT_OUT",
    "Bootstrap",
    "CopyModel",
    "Estimate",
    "accuracy",
    "accuracy_difference",
    "accuracy_difference_trials",
    "benchmark_table",
    "compare_accuracy",
    "compare_all",
    "compare_error_consistency",
    "compare_shape_bias",
    "confusion",
    "copy_model",
    "decisions",
    "each",
    "error_consistency",
    "expected_calibration_error",
    "holm",
    "independence_p",
    "is_person",
    "joint_probabilities",
    "kappa_bounds",
    "kappa_difference_power",
    "kappa_difference_trials",
    "kappa_half_width",
    "kappa_power",
    "kappa_trials",
    "kept",
    "mean_over_people",
    "mean_shape_bias_difference",
    "observed_consistency",
    "pairwise_consistency",
    "response_entropy",
    "shape_bias",
    "shape_bias_contrast",
    "to_frame",
]
