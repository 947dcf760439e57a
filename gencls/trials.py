"""Trial tables: who answered what to which stimulus. Recorded ones of people and networks, and models' own.

A table has one row a trial and the field's columns (`COLUMNS`): `subj` (the observer), `session`, `trial`
(its place in the session), `rt` (seconds, NaN where there is none), `object_response`, `category` (the
right answer; under cue conflict that of the shape), `condition`, `imagename` (the observer's own file),
`texture` (the texture's category under cue conflict, else empty), `stimulus` (the key under which all
observers of an image meet) and `set`. An observer who did not answer in time has the answer `na`.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pandas.errors import EmptyDataError, ParserError

from gencls import downloads
from gencls.categories import CATEGORIES
from gencls.errors import GenclsError
from gencls.metrics.tables import NO_ANSWER, rows, told, words
from gencls.stimuli.benchmark import CONDITIONS, SETS, condition_label, parse_name, texture_of
from gencls.stimuli.sets import StimulusSet

__all__ = [
    "COLUMNS",
    "CONDITIONS",
    "EXPERIMENTS",
    "NETWORK_SETS",
    "NO_ANSWER",
    "SETS",
    "from_answers",
    "human_reference",
    "load",
    "read",
    "validate",
    "write",
]

#: A trial table's columns.
COLUMNS = (
    *("subj", "session", "trial", "rt", "object_response", "category", "condition", "imagename"),
    *("texture", "stimulus", "set"),
)

_STYLE = "style-transfer-512-nomask"
#: Where texture-vs-shape keeps each of its sets.
_FOLDERS = {
    "cue-conflict": f"{_STYLE}-experiment",
    "edge": "edge-experiment",
    "silhouette": "silhouette-filled-experiment",
    "original": "original-experiment",
    "greyscale": "grayscale-experiment",
    "texture": "texture-experiment",
    "texture-filled-rotated": "texture-filled-rotated-experiment",
    "cue-conflict-shape-instruction": f"{_STYLE}-content-guessing-experiment",
    "cue-conflict-texture-instruction": f"{_STYLE}-texture-guessing-experiment",
}
#: Experiments of texture-vs-shape outside the 17 sets, with people and networks (Geirhos et al. 2019).
EXPERIMENTS = tuple(name for name in _FOLDERS if name not in SETS)
#: The sets and experiments on which networks' trials were recorded.
NETWORK_SETS = tuple(_FOLDERS)
_NETWORKS = {
    **{"alexnet": "AlexNet", "googlenet": "GoogLeNet", "vgg": "VGG-16", "vgg16": "VGG-16"},
    **{"resnet50": "ResNet-50", "resnet101": "ResNet-101", "resnet152": "ResNet-152"},
    **{"densenet121": "DenseNet-121", "squeezenet1-1": "SqueezeNet 1.1"},
}


def load(set_name: str, observers: Literal["human", "networks", "all"] = "human") -> pd.DataFrame:
    """The recorded trials of one stimulus set or experiment.

    Networks are named by source: "AlexNet (texture-vs-shape)" is the Caffe network of the original
    experiment, "AlexNet (texture-vs-shape, PyTorch)" another; "SIN" means trained on Stylized-ImageNet,
    "OpenImages" on that. Conditions are in the benchmark's spelling, `CONDITIONS`. Raises GenclsError for
    an unknown name and, saying how to fetch them, for trials that are not here.

    Parameters
    ----------
    set_name : one of the 17 in `SETS` (people: Geirhos et al. 2021) or of `EXPERIMENTS` (Geirhos et al. 2019)
    observers : `human`; `networks`, the CNNs recorded by Geirhos et al. 2019 on the sets in `NETWORK_SETS`;
        or `all`, both, as far as there are networks
    """
    if set_name not in (*SETS, *EXPERIMENTS):
        raise GenclsError(f"no set is called '{set_name}'; there are {', '.join((*SETS, *EXPERIMENTS))}")
    if observers not in ("human", "networks", "all"):
        raise GenclsError(f"observers='{observers}' is none of 'human', 'networks', 'all'")
    if observers == "networks" and set_name not in NETWORK_SETS:
        raise GenclsError(f"no network's trials were recorded on '{set_name}', only on {', '.join(NETWORK_SETS)}")
    parts = []
    if observers != "networks":
        parts.append(_recorded(set_name, "human"))
    if observers != "human" and set_name in NETWORK_SETS:
        parts.append(_recorded(set_name, "networks"))
    trials = pd.concat(parts, ignore_index=True)
    trials.attrs["categories"] = CATEGORIES
    return trials


def _recorded(set_name: str, observers: str) -> pd.DataFrame:
    name = "model-vs-human" if observers == "human" and set_name in SETS else "texture-vs-shape"
    path = downloads.fetch(name)
    return _read_archive(name, str(path), path.stat().st_mtime_ns, set_name, observers)


@functools.lru_cache(maxsize=64)
def _read_archive(source: str, path: str, changed: int, set_name: str, observers: str) -> pd.DataFrame:
    """One set's trials from an archive; `path` and `changed` only tell one state of the file from another."""
    archive = downloads.archive(source)
    folder = set_name if source == "model-vs-human" else _FOLDERS[set_name]
    folders = [folder] if observers == "human" else [folder, f"{folder}-trained-CNNs"]
    tables = []
    for folder in folders:
        for name in archive.names(f"raw-data/{folder}", ".csv"):
            if ("_subject-" in name) == (observers == "human"):
                table = _parsed(archive.read(name).decode(), f"{name} in {archive.path}")
                if observers == "networks":
                    table["subj"] = _network(table["subj"].iloc[0], folder.endswith("-trained-CNNs"))
                    table["condition"] = "0"  # the OpenImages network's files say 3, without a meaning
                tables.append(_completed(table, set_name, name))
    return pd.concat(tables, ignore_index=True)


def _network(label: str, later: bool) -> str:
    """A network's name by source. `later` ones were added to the three of the original experiment."""
    base, stylized, _ = label.partition("-train-60-epochs")
    if base == "oidv2-resnet101":
        return "ResNet-101 (texture-vs-shape, OpenImages)"
    origin = ", SIN" if stylized else ", PyTorch" if later else ""
    return f"{_NETWORKS[base]} (texture-vs-shape{origin})"


def _parsed(text: str, where: str) -> pd.DataFrame:
    """A CSV's text as a table of text; only `rt`, `session` and `trial` are numbers."""
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (EmptyDataError, ParserError) as error:
        raise GenclsError(f"{where} is no table of trials: {str(error).strip()}") from error
    table.columns = ["session" if c.strip() == "Session" else c.strip() for c in table.columns]
    if twice := sorted({c for c in table.columns if list(table.columns).count(c) > 1}):
        raise GenclsError(f"{where} has the column '{twice[0]}' twice; keep one of them")
    for column in {"rt", "session", "trial"} & set(table.columns):
        numbers = pd.to_numeric(table[column].replace({"NaN": "nan", "": "nan"}), errors="coerce")
        bad = numbers.isna() & ~table[column].str.lower().isin(["nan", "na", ""])
        if column != "rt":
            bad = numbers.isna() | (numbers % 1 != 0)  # ∞ % 1 is nan
        if bad.any():
            kind = "number" if column == "rt" else "whole number"
            raise GenclsError(f"{where}: '{column}' is no {kind} in {rows(table, bad.to_numpy())}")
        table[column] = numbers if column == "rt" else numbers.astype("int64")
    return table


def _completed(table: pd.DataFrame, set_name: str, where: str) -> pd.DataFrame:
    """The table in the benchmark's spelling; `stimulus` and `texture` are worked out of file names, those that it has are kept."""
    if "stimulus" in table:
        return table.assign(texture=table.get("texture", ""), set=set_name).loc[:, list(COLUMNS)]
    parsed = [parse_name(name) for name in table["imagename"]]
    bad = np.array([p is None for p in parsed])
    if bad.any():
        raise GenclsError(
            f"{where}: the stimulus cannot be read from 'imagename' in {rows(table, bad)}; "
            "give the table a column 'stimulus'"
        )
    table["stimulus"] = [p[2] for p in parsed if p]
    if set_name == "texture-filled-rotated":  # people's angle is the condition, networks' is in the name
        in_name = table["stimulus"].str.extract(r"-(\d+)$")[0]
        table["condition"] = in_name.where(in_name.notna(), table["condition"])
        table["stimulus"] = table["stimulus"].str.replace(r"-\d+$", "", regex=True) + "-" + table["condition"]
    table["condition"] = [condition_label(set_name, c) for c in table["condition"]]
    cues = set_name.startswith("cue-conflict") or set_name == "texture-filled-rotated"
    table["texture"] = [texture_of(s) if cues else "" for s in table["stimulus"]]
    table["set"] = set_name
    return table.loc[:, list(COLUMNS)]


def from_answers(subj: str, stimuli: StimulusSet, answers: Sequence[str]) -> pd.DataFrame:
    """A model's trials: its answer to each stimulus of a set, in the set's order.

    Raises GenclsError where there are more or fewer answers than stimuli, or one that is neither a category
    of the set nor `na`.
    """
    if len(answers) != len(stimuli):
        raise GenclsError(f"'{subj}' has {len(answers):,} answers to {len(stimuli):,} stimuli of '{stimuli.name}'")
    table = stimuli.table
    trials = pd.DataFrame(
        {
            "subj": subj,
            "session": 1,
            "trial": np.arange(1, len(table) + 1),
            "rt": np.nan,
            "object_response": list(answers),
            "category": table["category"],
            "condition": table["condition"],
            "imagename": table["name"],
            "texture": table["texture"],
            "stimulus": table["name"],
            "set": stimuli.name,
        },
        columns=list(COLUMNS),
    )
    return validate(trials, stimuli.categories)


def validate(
    trials: pd.DataFrame,
    categories: Sequence[str] | None = None,
    *,
    one_set: bool = True,
    matched: bool = False,
) -> pd.DataFrame:
    """The trials, if they can be measured; otherwise a GenclsError that names the rows (by their index).

    Checked are: all columns there and filled, right answers and textures that are categories, responses
    that are a category or `na`, no observer with two trials on one stimulus, one set (unless
    `one_set=False`) and, with
    `matched=True`, the same stimuli for every observer.

    `categories` are the answers that could be given. Without them they are `trials.attrs["categories"]`;
    else the 16 entry-level ones if half or more of the table's are among these; else the table's own.
    """
    missing = [c for c in COLUMNS if c not in trials]
    if missing:
        raise GenclsError(f"trials lack the column{'s'[: len(missing) > 1]} {', '.join(missing)}; add them")
    if not len(trials):
        raise GenclsError("trials are empty; check the file or the selection that led to them")
    for column in set(COLUMNS) - {"session", "trial", "rt"}:
        values = trials[column].to_numpy(object)
        bad = np.array([not isinstance(v, str) or (not v and column != "texture") for v in values])
        some = "" if not bad.any() or pd.isna(values[bad][0]) or values[bad][0] == "" else f" ({values[bad][0]!r})"
        advice = {"object_response": "give the category's name, 'na' for none", "texture": "'' stands for none"}
        _refuse(trials, bad, f"'{column}' is empty or no text{some}", advice.get(column, "give it as text"))
    if one_set and trials["set"].nunique() > 1:
        first = trials["set"].iloc[0]
        _refuse(
            trials,
            (trials["set"] != first).to_numpy(),
            f"the set is not '{first}', as in the others, but {_listed(trials['set'].unique()[1:])}",
            "measure each set alone",
        )
    offered = told(trials, categories) or tuple(sorted(words(trials)))
    known = set(offered)
    listed = ", ".join(sorted(known))
    for column, allowed in (("category", known), ("texture", known | {""})):
        bad = ~trials[column].isin(allowed).to_numpy()
        others = _listed(trials.loc[bad, column].unique())
        _refuse(trials, bad, f"'{column}' holds no category ({others})", f"there are {listed}")
    bad = ~trials["object_response"].isin(known | {NO_ANSWER}).to_numpy()
    others = _listed(trials.loc[bad, "object_response"].unique())
    _refuse(trials, bad, f"the answer is no category ({others})", f"there are {listed}, and 'na' for none")
    bad = trials.duplicated(["set", "subj", "condition", "stimulus"]).to_numpy()
    _refuse(trials, bad, "an observer has a second trial on the same stimulus", "keep one")
    if matched:
        _matched(trials)
    result = trials.copy()
    result.attrs["categories"] = offered
    return result


def _matched(trials: pd.DataFrame) -> None:
    """Every observer saw the same stimuli of the same sets in the same conditions as the first one."""
    named = (trials[column] for column in ("set", "condition", "stimulus"))
    keys = pd.Series(list(zip(*named, strict=True)), index=trials.index)
    first, *others = trials["subj"].unique()
    seen = set(keys[trials["subj"] == first])
    for other in others:
        mine = keys[trials["subj"] == other]
        _refuse(
            trials,
            mine.reindex(trials.index).notna().to_numpy() & ~keys.isin(seen).to_numpy(),
            f"'{other}' saw stimuli that '{first}' did not",
            "compare observers on the stimuli that both saw",
        )
        if lacking := sorted(seen - set(mine)):
            raise GenclsError(
                f"trials: '{other}' has no trial on {len(lacking)} stimuli that '{first}' saw, such as "
                f"{lacking[0][2]} in condition {lacking[0][1]} of '{lacking[0][0]}'; compare on the stimuli that both saw"
            )


def _refuse(trials: pd.DataFrame, bad: np.ndarray, what: str, advice: str) -> None:
    if bad.any():
        raise GenclsError(f"trials: {what} in {rows(trials, bad)}; {advice}")


def _listed(words: np.ndarray, most: int = 3) -> str:
    return ", ".join(repr(w) for w in words[:most]) + (", …" if len(words) > most else "")


def write(trials: pd.DataFrame, path: str | Path) -> Path:
    """Write trials as CSV with the field's columns first; the file is there whole or not at all.

    What could be answered (`trials.attrs["categories"]`) is not in it: give it to `read` where it is not the 16 entry-level categories.
    """
    path = Path(path)
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    first = [c for c in COLUMNS if c in trials]
    try:
        trials[first + [c for c in trials if c not in first]].to_csv(half, index=False, na_rep="NaN")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise GenclsError(f"trials cannot be written to {path}: {error.strerror or error}") from error
    return path


def read(path: str | Path, set_name: str | None = None, categories: Sequence[str] | None = None) -> pd.DataFrame:
    """Trials from a CSV: one that `write` made, or one in the benchmark's own format.

    The benchmark's format lacks `stimulus`, `texture` and `set`: name the set, and the other two are worked
    out from the file names. A table that has its own `stimulus` keeps it;
    without a texture it has none. Raises GenclsError for what is no such table; `validate` says what else is
    checked.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GenclsError(f"{path} is no CSV: it holds bytes that are no UTF-8 text") from error
    except OSError as error:
        raise GenclsError(f"{path} cannot be read: {error.strerror or error}") from error
    table = _parsed(text, str(path))
    plain = [c for c in COLUMNS if c not in ("texture", "stimulus", "set")]
    missing = [c for c in plain if c not in table]
    if missing:
        head = text.partition("\n")[0]
        other = next((sign for sign in (";", "\t") if head.count(sign) >= len(plain) - 1), "")
        hint = f"its columns seem to be apart by {other!r}, save it with commas" if other else "add them"
        raise GenclsError(f"{path} lacks the column{'s'[: len(missing) > 1]} {', '.join(missing)}; {hint}")
    if not {"stimulus", "texture", "set"} <= set(table):
        said = table["set"].unique().tolist() if "set" in table else []
        if len(said) > 1:
            raise GenclsError(
                f"{path} holds several sets and lacks 'stimulus' or 'texture'; add both, or read each set by itself"
            )
        if not said and set_name is None:
            raise GenclsError(f"{path} does not say of which set it is; name it: read(path, 'cue-conflict')")
        if said and set_name is not None and said != [set_name]:
            raise GenclsError(f"{path} says that its set is '{said[0]}', not '{set_name}'; leave the name out")
        table = _completed(table, said[0] if said else str(set_name), str(path))
    try:
        return validate(table, categories, one_set=False)
    except GenclsError as error:
        raise GenclsError(f"{path}: {error}") from error


#: The tables of people's figures that ship.
_REFERENCES = ("accuracy", "accuracy_of_sets", "shape_bias", "error_consistency")


def human_reference(
    name: Literal["accuracy", "accuracy_of_sets", "shape_bias", "error_consistency"],
) -> pd.DataFrame:
    """People's figures on the 17 sets, shipped, so that they are here without the trials behind them.

    `accuracy` : `set, condition, subj, n, correct, accuracy`
    `accuracy_of_sets` : `set, n, correct, accuracy, standard_error` over images, all people and the kept conditions pooled
    `shape_bias` : `subj, category` (the shape's; `all` for all of them), `shape, texture, n, shape_bias`,
    on the 1,200 cue-conflict stimuli whose cues differ
    `error_consistency` : `set, condition, subj_a, subj_b, n, observed, expected, kappa`, each pair of people

    Computed by `scripts/human_reference.py` with the definitions of Geirhos et al. (2019, 2020, 2021).
    """
    path = Path(__file__).parent / "data" / f"human_{name}.csv"
    if name not in _REFERENCES:
        raise GenclsError(f"no human reference is called '{name}'; there are {', '.join(_REFERENCES)}")
    return pd.read_csv(path, dtype={"condition": str})
