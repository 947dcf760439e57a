"""The book's figures: one function a figure, matplotlib, over tidy tables.

Frames are in long form, one row a point. The columns, of which each function names those it needs:

| column | meaning |
| --- | --- |
| `observer` | who answered; people, human, person, participant or subject in front mean a person |
| `category`, `set`, `condition`, `measure` | what was measured, in the order in which it is to be drawn |
| `t`, `log_snr` | the noise level |
| `value`, `low`, `high` | the estimate and the ends of its interval (these optional, NaN for none) |

`points` makes such rows from Estimates. Every function takes the Axes to draw on, or None for a new figure,
returns the Axes, and never shows. The figure's alternative text is its label: `describe(ax)`, or
`figure.get_label()`.

Colours are after Okabe & Ito (2008), moved towards mid-tones so that each stands out on white and on
near-black pages (backgrounds are transparent); a marker repeats what a colour says. People are red diamonds,
as in the field's plots.
"""

from gencls.figures.decisions import error_curves, reconstructions, stimuli_grid
from gencls.figures.measures import (
    consistency_by_condition,
    consistency_matrix,
    forest,
    gains_by_level,
    noise_ablation,
    ood_bars,
    ood_curves,
    shape_bias,
    shape_bias_by_level,
)
from gencls.figures.style import Style, Styles, describe, is_person, points, styles

__all__ = [
    "Style",
    "Styles",
    "consistency_by_condition",
    "consistency_matrix",
    "describe",
    "error_curves",
    "forest",
    "gains_by_level",
    "is_person",
    "noise_ablation",
    "ood_bars",
    "ood_curves",
    "points",
    "reconstructions",
    "shape_bias",
    "shape_bias_by_level",
    "stimuli_grid",
    "styles",
]
