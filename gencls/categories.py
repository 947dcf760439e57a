"""The 16 entry-level categories, the prompts that name them, and the ImageNet-1k classes behind each.

The categories are those of Geirhos et al. (2018), "Generalisation in humans and deep neural networks", who
took them from MS COCO; 207 of ImageNet's 1,000 classes fall under them. There are two ways to 16 answers: one
prompt a category (`prompts`), or ImageNet's 1,000 probabilities brought together (`entry_level`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from gencls.errors import GenclsError

#: The answers that people and models choose among, in the benchmark's fixed order.
CATEGORIES = (
    *("airplane", "bear", "bicycle", "bird", "boat", "bottle", "car", "cat"),
    *("chair", "clock", "dog", "elephant", "keyboard", "knife", "oven", "truck"),
)
#: The prompt of Jaini, Clark & Geirhos (2024), section 3.
PROMPT = "A bad photo of a {}"

_ARTICLE = re.compile(r"\b([Aa])n?\s+\{\}")
_CONSONANT = re.compile(r"(?:eu|uni(?!n)|use|usu|ut[ei]|ur[aeiou]|one\b|once|u\b|ewe)", re.IGNORECASE)
_SILENT_H = re.compile(r"(?:hour|hono|heir|honest)", re.IGNORECASE)


def article(noun: str) -> str:
    """`an` before a vowel that is heard, else `a`: an airplane, an hourglass, a unicorn."""
    vowel = noun[:1].lower() in "aeiou" and not _CONSONANT.match(noun)
    return "an" if noun and (vowel or _SILENT_H.match(noun)) else "a"


def wording(template: str) -> str:
    """How a sentence of ours names a prompt: “A bad photo of a …”, or the bare name."""
    return "the bare name" if template == "{}" else f"“{template.format('…')}”"


def distinct(classes: Sequence[str]) -> None:
    """A GenclsError unless there are two classes to choose between or more, each named once."""
    if len(set(classes)) < 2 or len(set(classes)) != len(classes):
        raise GenclsError(f"classes {list(classes)}: give at least two, each once")


def prompts(categories: Sequence[str] = CATEGORIES, template: str = PROMPT, *, articles: bool = False) -> list[str]:
    """One prompt a category: `template` with the category in place of `{}`.

    The paper's template is kept to the letter by default ("A bad photo of a airplane"); `articles=True` makes
    the article before `{}` agree with the noun ("A bad photo of an airplane").
    """
    if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
        raise GenclsError(f"the prompt {template!r} needs one {{}} where the category goes, and no other braces")
    texts = []
    for category in categories:
        if not isinstance(category, str) or not category.strip():
            raise GenclsError(f"{category!r} is no category; name each by a word")
        text = template
        if articles and (found := _ARTICLE.search(template)):
            one = found.group(1) + article(category)[1:]
            text = template[: found.start()] + f"{one} {{}}" + template[found.end() :]
        texts.append(text.replace("{}", category))
    return texts


@functools.cache
def _table() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).parent / "data" / "imagenet_16.csv")


def imagenet_table() -> pd.DataFrame:
    """The 207 ImageNet-1k classes behind the categories: `category, imagenet_index, wnid, name`.

    The index counts the 1,000 wnids in sorted order, as torchvision and the hub's models do.
    """
    return _table().copy()


@functools.cache
def imagenet_classes(category: str) -> tuple[int, ...]:
    """The indices (0…999) of the ImageNet-1k classes behind one category."""
    if category not in CATEGORIES:
        raise GenclsError(f"'{category}' is none of the 16 categories: {', '.join(CATEGORIES)}")
    table = _table()
    return tuple(int(i) for i in table.loc[table["category"] == category, "imagenet_index"])


def entry_level(probabilities: np.ndarray, how: Literal["mean", "sum"] = "mean") -> np.ndarray:
    """ImageNet's 1,000 probabilities → a value for each of the 16 categories, in the order of `CATEGORIES`.

    Parameters
    ----------
    probabilities : … × 1000, each ≥ 0 and their sum 1 (a softmax, not logits)
    how : `mean` over the classes behind a category, the benchmark's way (Geirhos et al. 2018, appendix of
        arXiv 1808.08750: categories have unequally many classes), or their `sum`

    Returns … × 16, float64; neither kind sums to 1, since 793 classes belong to no category. The answer is
    the largest. Raises GenclsError for another width, NaN, or values that are no probabilities.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] != 1000:
        raise GenclsError(f"ImageNet probabilities come 1,000 a stimulus, these are shaped {values.shape}")
    if how not in ("mean", "sum"):
        raise GenclsError(f"how='{how}' is neither 'mean' nor 'sum'")
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(-1).ravel())
        raise GenclsError(f"ImageNet probabilities: {len(bad)} rows hold NaN or infinity, first row {bad[0]}")
    if (values < 0).any() or (np.abs(values.sum(-1) - 1) > 1e-2).any():
        raise GenclsError("these are no probabilities (each ≥ 0, their sum 1); apply softmax to logits first")
    columns = [values[..., list(imagenet_classes(category))] for category in CATEGORIES]
    together = [c.mean(-1) if how == "mean" else c.sum(-1) for c in columns]
    return np.stack(together, axis=-1)


def answers(values: np.ndarray, categories: Sequence[str] = CATEGORIES) -> list[str]:
    """The category with the largest value in each row (n × categories); of equals the first."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != len(categories):
        raise GenclsError(f"{len(categories)} categories need n×{len(categories)} values, not {values.shape}")
    if np.isnan(values).any():
        first = np.flatnonzero(np.isnan(values).any(1))[0]
        raise GenclsError(f"row {first} of the values holds NaN, so there is no answer in it")
    return [categories[i] for i in values.argmax(1)]
