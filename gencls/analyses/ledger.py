"""The ledger: what the paper claims, what was reported, what this book measured, or why it cannot."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from gencls.analyses.photographs import OWN
from gencls.figures import is_person
from gencls.results import Html, Number, Page, table_in_box

#: How a claim's word begins in a world that cannot test it.
UNTESTED = ("Not tested", "Cannot be tested")
SOURCE = "Jaini, Clark & Geirhos 2024, arXiv 2309.16779"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Parameters
    ----------
    key : what its numbers are called on the page
    says : the claim in a sentence
    reported : observer → the number that the paper gives
    chapter : where this book measures it, empty where it cannot
    name : pattern of the names of that chapter's numbers that speak to it
    worlds : world → what a number measured there says about the claim, or why there is none
    figure : the name of that chapter's figure of it
    elsewhere : world → another chapter, pattern and figure, where that world measures it on another page
    """

    key: str
    says: str
    reported: Mapping[str, float]
    chapter: str
    name: str
    worlds: Mapping[str, str]
    figure: str
    elsewhere: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    def place(self, world: str) -> tuple[str, str, str]:
        """The chapter that measures it in a world, the pattern of its numbers' names, and the name of its figure."""
        return self.elsewhere.get(world, (self.chapter, self.name, self.figure))


CLAIMS = (
    Claim(
        "shape bias",
        "Generative classifiers go by shape nearly as people do.",
        {"Imagen": 0.99, "Stable Diffusion": 0.93, "Parti": 0.92, "people": 0.96},
        "shape_bias",
        r"shape bias$",
        {
            "shapes": "Other models and other stimuli than the paper's: whether shape wins, not whether its numbers hold.",
            "natural": "The real stimuli at 64 pixels, models trained on the same photographs: whether generating makes the difference, among equals.",
            "full": "The paper's stimuli and people; of its models none is on this machine.",
        },
        "shape_bias_by_category",
        {"natural": ("photographs", r"shape bias$", "families")},
    ),
    Claim(
        "OOD accuracy",
        "Their accuracy on distorted images is near people's, but for rotation and high-pass filtering.",
        {},
        "ood",
        r"OOD accuracy$",
        {
            "shapes": "No person saw these drawings, so whether that is near people's cannot be tested; the two failures can.",
            "natural": "Held-out photographs under the twelve manipulations; no person saw them at 64 pixels, so the two failures can be tested and nearness to people cannot.",
            "full": "People and their stimuli are the paper's; of its models none is on this machine.",
        },
        "curves",
    ),
    Claim(
        "error consistency",
        "They err on the same images as people do, more than any other models.",
        {},
        "error_consistency",
        r"κ with the group$",
        {
            "shapes": "No person saw these drawings: the group are the three trainings of the plain ResNet, whose κ with each other is the ceiling. Each mean is over the conditions "
            "in which there is a κ, which are not the same for all.",
            "natural": "Mean κ with the ten people who saw the same cue-conflict stimuli, at 224 pixels; the ceiling is theirs with each other.",
            "full": "People's errors are here; of the paper's models none is on this machine.",
        },
        "cue_conflict",
        {"natural": ("photographs", r"κ with people on cue-conflict$", "")},
    ),
    Claim(
        "illusions",
        "They see some of the figures that people see two ways.",
        {},
        "illusions",
        r"share, (\w+), both$",
        {
            "shapes": "Drawings with two right answers: the share of which a model puts both before all fourteen wrong ones. Nobody saw these drawings.",
            "natural": "Not tested: no stimuli with two right answers at 64 pixels were shown.",
            "full": "Cannot be tested here: the paper shows that by drawing and by asking models that are not on this machine.",
        },
        "gains",
    ),
    Claim(
        "shape by octave",
        "The loss and w(t) favour low spatial frequencies, and hence shapes (the paper's explanation, which it did not test).",
        {},
        "drivers",
        r"bias of the octave under exp\(-7t\)$",
        {
            "shapes": "Each octave of the error alone, under the paper's weighting: low octaves must go by shape, and the whole error as they do. "
            "The weighting itself favours low noise, which is another matter.",
            "natural": "Not tested: cues are known exactly in the shapes world alone.",
            "full": "Cannot be tested here: it takes models trained in several ways on known cues.",
        },
        "octaves_by_level",
    ),
    Claim(
        "noise in training",
        "A ResNet-50 trained on noised images goes by shape far more than one that was not.",
        {"ResNet-50": 0.21, "ResNet-50, noised": 0.78},
        "noise_resnet",
        r"shape bias (without noise|with noise at test)$",
        {
            "shapes": "A far smaller network on drawings, so a change by noise can be tested and the paper's numbers cannot.",
            "natural": "A small ResNet on photographs, with the paper's noise and without, shown the real stimuli.",
            "full": "Cannot be tested here: it takes ImageNet and days of training.",
        },
        "noise_at_test",
        {"natural": ("photographs", r"bias of the noise ablation$", "noise_at_test")},
    ),
)


def ledger(results: Mapping[str, Sequence[Number]], world: str = "shapes") -> pd.DataFrame:
    """The claims' numbers in a world: `name, observer, origin, value, low, high, n, chapter`, one row a number.

    `results`: chapter → the numbers that its run left. The paper's numbers have the origin "reported". Of ours, seeds other
    than the default (`…@1`) stay in their chapter.
    """
    rows = []
    for claim in CLAIMS:
        rows += [
            {"name": claim.key, "observer": who, "origin": "reported", "value": value, "chapter": ""}
            for who, value in claim.reported.items()
        ]
        chapter, pattern, _ = claim.place(world)
        for number in results.get(chapter, ()):
            if re.match(pattern, number.name) and number.observer and "@" not in number.observer:
                if number.origin == "reported":
                    continue
                own = {
                    "name": claim.key,
                    "observer": _own(number, pattern),
                    "origin": number.origin,
                    "value": number.value,
                }
                rows.append(own | {"low": number.low, "high": number.high, "n": number.n, "chapter": chapter})
    table = pd.DataFrame(rows, columns=["name", "observer", "origin", "value", "low", "high", "n", "chapter"])
    return table.drop_duplicates(["name", "observer", "origin"], ignore_index=True)


def _own(number: Number, pattern: str) -> str:
    """Who it is, with what the claim's pattern catches of the name where a chapter has several numbers of one observer."""
    found = re.match(pattern, number.name)
    rest = (found[1] if found and found.re.groups else "").strip(" ,")
    return f"{number.observer} ({rest})" if rest else str(number.observer)


def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The ledgers of several worlds as one: the paper's numbers stand in it once, and people of a world are named by it.

    Its column `shown` says whether a row stands in a figure of few: the paper's, people, and whom `ORDERS` compares on the claim (on
    shape bias, where it compares nobody on it); all of a claim's where there is none of these.
    """
    parts = []
    for i, (world, table) in enumerate(tables.items()):
        ours = table["origin"] != "reported"
        named = table["observer"].where(~(ours & (table["observer"] == "people")), f"people ({world})")
        parts.append(table.assign(observer=named)[ours | (i == 0)])
    found = pd.concat(parts, ignore_index=True)
    order = {claim.key: i for i, claim in enumerate(CLAIMS)}
    found = found.sort_values("name", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    compared = [_compared(*row) for row in zip(found["name"], found["observer"], strict=True)]
    found["shown"] = (found["origin"] == "reported") | np.array(compared, bool)
    found["shown"] |= ~found.groupby("name")["shown"].transform("any")
    return found


def _compared(claim: str, observer: str) -> bool:
    """Whether an observer is people, or one whom `ORDERS` compares on a claim, or on shape bias where it compares nobody on it."""
    known = {order.claim for order in ORDERS}
    those = [order for order in ORDERS if order.claim == (claim if claim in known else "shape bias")]
    return is_person(observer) or observer.split(" ")[0] in {who for order in those for who in (order.high, order.low)}


def chapters(world: str) -> list[str]:
    """The chapters that a world's ledger sums up."""
    return list(dict.fromkeys(claim.place(world)[0] for claim in CLAIMS if claim.chapter))


@dataclass(frozen=True)
class Order:
    """Two of our observers whose order a claim is about, and where their difference on the same stimuli was measured.

    Parameters
    ----------
    claim : its key
    high, low : who should be higher, and the other
    chapter : where the difference is reported
    name : what it is called there
    """

    claim: str
    high: str
    low: str
    chapter: str
    name: str = "difference in shape bias"

    def measured(self, results: Mapping[str, Mapping[str, Sequence[Number]]]) -> tuple[float, float, float] | None:
        """`high` less `low` with its interval, whichever way round it was reported; None where it was not."""
        for number in results.get(self.high.partition("/")[0], {}).get(self.chapter, ()):
            if number.name == self.name and number.low is not None and number.high is not None:
                if number.observer == f"{self.high} − {self.low}":
                    return number.value, number.low, number.high
                if number.observer == f"{self.low} − {self.high}":
                    return -number.value, -number.high, -number.low
        return None


ORDERS = (
    *(Order("shape bias", maker, namer, "photographs", "made minus named") for maker, namer in OWN),
    Order("noise in training", "natural/resnet-noise", "natural/resnet", "photographs", "difference by noise"),
    Order("shape bias", "shapes/pixel", "shapes/resnet", "shape_bias"),
    Order("noise in training", "shapes/resnet-noise", "shapes/resnet", "noise_resnet"),
)


def plainly(results: Mapping[str, Mapping[str, Sequence[Number]]], orders: Sequence[Order] = ORDERS) -> list[str]:
    """What our own numbers say of the order that a claim expects, one sentence a pair whose difference was measured.

    results : world → chapter → the numbers that its run left. Two observers are told apart only if the 95% interval of their difference leaves out 0.
    """
    said = []
    for order in orders:
        if (found := order.measured(results)) is None or any(math.isnan(end) for end in found):
            continue
        value, low, high = found
        by = f"{value:+.2f} [{low:.2f}, {high:.2f}]"
        if low > 0:
            said.append(f"**{order.claim}**: {order.high} is above {order.low}, as the claim expects ({by}).")
        elif high < 0:
            said.append(
                f"**{order.claim}**: {order.high} is *below* {order.low} ({by}). Of these two the claim does not hold."
            )
        else:
            said.append(f"**{order.claim}**: {order.high} and {order.low} cannot be told apart ({by}).")
    return said


def settled(results: Mapping[str, Mapping[str, Sequence[Number]]], world: str = "natural") -> str:
    """Of the world's whole family of differences in shape bias between generative models and others, which stand after Holm's correction, in a sentence."""
    numbers = results.get(world, {}).get("photographs", ())
    value = {n.observer: n.value for n in numbers if n.name == "difference in shape bias" and n.observer}
    p = {n.observer: n.value for n in numbers if n.name == "p (Holm)" and n.observer}
    sure = [pair for pair in value if p.get(pair, 1) < 0.05]
    named = [pair.replace(" − ", " above " if value[pair] > 0 else " *below* ") for pair in sure]
    if not value:
        return ""
    left = f"of the other {len(value) - len(sure)} it cannot be told" if sure else "of none it can be told"
    return f"Of the {len(value)} differences between the generative models of `{world}` and its others, corrected as one family, {len(sure)} stand: {'; '.join(named) or 'none'}; {left}."


def enter(page: Page, table: pd.DataFrame) -> None:
    """Report every number of the ledger on a page."""
    for row in table.to_dict("records"):
        who = f"{row['observer']} (paper)" if row["origin"] == "reported" else row["observer"]
        ends = {key: None if pd.isna(row[key]) else row[key] for key in ("low", "high", "n")}
        page.report(row["name"], row["value"], observer=who, origin=row["origin"], **ends)


def verdicts(table: pd.DataFrame, world: str, ran: Sequence[str]) -> Html:
    """The ledger as a table to read: claim, reported, ours with intervals, and what that says or why there is nothing."""
    rows = []
    for claim in CLAIMS:
        part = table[table["name"] == claim.key]
        theirs, ours = part[part["origin"] == "reported"], part[part["origin"] != "reported"]
        why = claim.worlds.get(world, "This world has no word on it.")
        chapter, _, figure = claim.place(world)
        if chapter and chapter not in ran and not why.startswith(UNTESTED):
            why = f"{why} The chapter `{chapter}` has not been run for this world."
        cells = [
            _marked(cell) for cell in (_listed(theirs) or "no single number", _listed(ours) or "not measured", why)
        ]
        if len(ours):
            place = f"../../{world}/{chapter}/{chapter}.html" + (f"#{figure}" if figure else "")
            cells[-1] += f' <a href="{place}">See it measured.</a>'
        rows.append(f'<th scope="row">{_marked(claim.says)}</th>' + "".join(f"<td>{cell}</td>" for cell in cells))
    caption = f"The paper's claims in the world {world}. Reported: {SOURCE}"
    return Html(
        table_in_box(
            ("The claim", "Reported", "Ours, 95% interval", "What these numbers can tell"), rows, caption=caption
        ),
        "table of the paper's claims: " + "; ".join(claim.says for claim in CLAIMS),
    )


def _listed(rows: pd.DataFrame, most: int = 6) -> str:
    """Rows in words, in the table's order; where there are more than `most`, people and those whom the page compares, and how many others there are."""
    compared = np.array([_compared(*row) for row in zip(rows["name"], rows["observer"], strict=True)], bool)
    listed = rows[compared] if len(rows) > most and compared.any() else rows
    said = []
    for row in listed.to_dict("records"):
        ends = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
        said.append(f"{row['observer']} {row['value']:.2f}{ends}")
    return "; ".join(said) + (f"; and {len(rows) - len(listed)} others" if len(listed) < len(rows) else "")


def _marked(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def by_observer(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of an explorer: for each of our observers its numbers, and beside them all of the paper's.

    Columns `chosen` (the control), `name` (the claim), `who`, `source`, `value, low, high`.
    """
    table = table.astype({"low": float, "high": float})
    theirs = table[table["origin"] == "reported"]
    theirs = theirs.assign(who=theirs["observer"] + " (paper)", source="the paper")
    ours = table[table["origin"] != "reported"]
    ours = ours.assign(who=ours["observer"], source="this book")
    parts = [pd.concat([part, theirs]).assign(chosen=chosen) for chosen, part in ours.groupby("observer", sort=False)]
    return pd.concat(parts or [theirs.assign(chosen="the paper alone")], ignore_index=True)


def texts(rows: pd.DataFrame) -> pd.DataFrame:
    """The sentence under an explorer's plot, out of `by_observer`: `chosen, text`."""
    said = []
    for chosen, part in rows.groupby("chosen", sort=False):
        own = part[part["source"] == "this book"]
        numbers = "; ".join(f"{row['name']}: {_listed(own.loc[[i]])}" for i, row in own.iterrows())
        said.append({"chosen": chosen, "text": numbers or "No chapter of this world has been run yet."})
    return pd.DataFrame(said)
