"""The `gencls` command: a thin door to the package. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gencls import __version__
from gencls.errors import GenclsError

if TYPE_CHECKING:
    from gencls.classify import Classification

DEFAULT_MODEL = "pypi:efficientnet-lite0"
#: Pictures read and classified at a time, so that a folder of thousands fits in memory.
CHUNK = 16
COMPILE = "By torch.compile, which takes minutes. [default: where 20 minutes lie ahead and it proves faster]"
RESOLUTION = "Pixels a side that a model is shown. [default: its own]"
CROP = "It sees the central square, or the whole image. [default: its own way]"
DEVICE = "`cpu`, `cuda`, `cuda:1`, `mps`; `auto` is the fastest there is."
#: What a reader who pressed Ctrl-C wants to know.
KEPT = {
    "classify": "every score that was computed is kept, and the same command goes on from there",
    "train": "the checkpoint of the last minute is kept, and the same command goes on from there",
    "book": "finished chapters and every score are kept, and the same command goes on from there",
    "run": "every score that was computed is kept, and the same command goes on from there",
    "data": "what has arrived is kept, and the same command goes on from there",
    "stimuli": "sets that are whole stay",
}


class _Commands(TyperGroup):
    """Says what went wrong in one sentence; `--debug` may stand anywhere on the line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = args[: args.index("--")] if "--" in args else args
        if "--debug" in own:
            args = ["--debug", *(a for a in own if a != "--debug"), *args[len(own) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read along has seen enough, which click knows how to end
            raise
        except (GenclsError, OSError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            _say(_sentence(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            if ctx.params.get("debug"):
                raise
            _say(f"stopped: {KEPT.get(ctx.invoked_subcommand or '', 'nothing was begun that stays')}")
            raise typer.Exit(130) from None


def _sentence(error: BaseException) -> str:
    if isinstance(error, GenclsError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; see to the file or the disk, and run the same command again"
    return "this machine has too little memory for it; give fewer or smaller images"


def _say(text: str) -> None:
    typer.echo(f"gencls: {text}", err=True)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(no_args_is_help=True, help="Public data: list what there is, fetch what a chapter needs.")
app.add_typer(data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gencls {__version__}")
        raise typer.Exit


@app.callback(epilog="Begin with `gencls classify photo.jpg`, or `gencls book` in a clone of the repository.")
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Generative image models as classifiers, measured with human psychophysics."""
    from gencls.downloads import mirror

    mirror()  # a name that is misspelt is said at once, and not on every page as data that are not here


@app.command(
    epilog="Example: `gencls book --world shapes --profile smoke` shows in a few minutes that everything runs."
)
def book(
    world: Annotated[
        list[str] | None,
        typer.Option(help="Execute this world's chapters only; may be repeated. [default: all whose data are here]"),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Parameters of this build: `smoke`, or a YAML file.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Compute every shapes score again (14 to 60 minutes).")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for `_build/`. [default: the checkout]")] = None,
) -> None:
    """Execute the chapters and build the book, `_build/html/index.html`."""
    from gencls.book import build_book

    index = build_book(world or None, profile, fresh, out, log=lambda text: typer.echo(text, err=True))
    typer.echo(index)


@app.command(
    epilog="Example: `gencls run shape_bias -p world=full --out mine` leaves the notebook and results.json in mine/."
)
def run(
    chapter: Annotated[str, typer.Argument(help="A chapter's id, e.g. `shape_bias`; an unknown one lists them all.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A parameter; may be repeated.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="A YAML file of parameters, or `smoke`.")] = None,
    yaml_text: Annotated[
        str | None, typer.Option("-y", "--yaml", metavar="YAML", help="Parameters as YAML, e.g. `{seed: 1}`.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the notebook and results.json. [default: where the book takes it]")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="What is not on record is scored `here`, or by workers of `ray`.")
    ] = "here",
    workers: Annotated[int | None, typer.Option(min=1, help="Ray's. [default: one a GPU]")] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster. [default: a Ray of its own]")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help=RESOLUTION)] = None,
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help=CROP)] = True,
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help=COMPILE)] = None,
) -> None:
    """Run one chapter through papermill; `-p` wins over `-y`, `-y` over `--profile`."""
    from gencls.book import parameters, run_chapter
    from gencls.classify import check_engine

    check_engine(engine, workers, address)
    given = {"GENCLS_ENGINE": engine, "GENCLS_WORKERS": workers, "RAY_ADDRESS": address}  # for the notebook's kernel
    given |= {"GENCLS_COMPILE": os.environ.get("GENCLS_COMPILE", "auto") if compile is None else int(compile)}
    given |= {"GENCLS_RESOLUTION": resolution, "GENCLS_CROP": None if crop else 0}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    known = parameters(chapter)
    values = _mapping(yaml_text) if yaml_text else {}
    for pair in parameter or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise GenclsError(f"-p {pair!r} is not name=value; write it as in `-p world=shapes`")
        as_text = name in known and known[name].types == ("str",)
        values[name] = text if as_text else _value(text)
    typer.echo(run_chapter(chapter, values, out, profile))


def _value(text: str) -> Any:
    """A value as YAML has it, as in papermill: 3, 0.5, true, [a, b], or the text itself."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _mapping(text: str) -> dict[str, Any]:
    value = _value(text)
    if not isinstance(value, dict):
        raise GenclsError(f"-y {text!r} is no YAML mapping; write it as in `-y '{{world: shapes, seed: 1}}'`")
    return value


@app.command(
    epilog="Examples: `gencls classify photo.jpg`, `gencls classify holiday/ --classes dog,cat --json`, "
    "`gencls classify star.png --model shapes/pixel --prompt 'A drawing of a {}'`"
)
def classify(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="A model's id (`gencls models`), hf:REPO[@REVISION], or a local folder.")
    ] = DEFAULT_MODEL,
    classes: Annotated[
        str | None, typer.Option(help="What to choose among, with commas. [default: the model's own classes]")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="For models that read text, with {} for the class. [default: A bad photo of a {}]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every score and probability as JSON.")] = False,
    allow_pickles: Annotated[
        bool, typer.Option("--allow-pickles", help="Take weights that are only pickles: opening one can run code.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it takes: evaluations, operations, memory, time, disk.")
    ] = False,
    device: Annotated[str, typer.Option(help=DEVICE)] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Of a generative model's products: `float32`, `bfloat16`, `float16`; `auto` probes.")
    ] = "float32",
    resolution: Annotated[int | None, typer.Option(min=1, help=RESOLUTION)] = None,
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help=CROP)] = True,
    offload: Annotated[
        bool,
        typer.Option("--offload", help="A pipeline's parts visit the card one at a time: for models larger than it."),
    ] = False,
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help=COMPILE)] = None,
    engine: Annotated[str, typer.Option(help="`here`, or `ray`: workers on this machine or a cluster.")] = "here",
    workers: Annotated[int | None, typer.Option(min=1, help="Ray's. [default: one a GPU]")] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster. [default: a Ray of its own]")] = None,
) -> None:
    """Say what is on your own images.

    An image that cannot be read is named on stderr, the others are answered, and the exit status is 2.
    """
    from gencls.categories import PROMPT
    from gencls.classify import check_engine
    from gencls.stimuli.pictures import find_pictures

    check_engine(engine, workers, address)
    paths = find_pictures(images)
    wanted = None if classes is None else [c.strip() for c in classes.split(",") if c.strip()]
    opening: dict[str, Any] = {
        "allow_pickles": allow_pickles,
        "device": device,
        "dtype": dtype,
        "offload": offload,
        "resolution": resolution,
        "crop": crop,
    }
    if dry_run:
        from gencls.classify import trained_on
        from gencls.likelihood import forecast

        asked = (trained_on(model) or None) if wanted is None else wanted
        told = forecast.told(model, len(paths), asked, PROMPT if prompt is None else prompt, **opening)
        typer.echo("\n".join(f"{name}: {value}" for name, value in told.items()))
        return
    opening |= {
        "compile": "auto" if compile is None else compile,
        "engine": engine,
        "workers": workers,
        "address": address,
    }
    parts, errors = _classified(paths, model, wanted, prompt, opening)
    if parts and as_json:
        typer.echo(json.dumps(_joined(parts), indent=1, ensure_ascii=False))
    elif parts:
        rows = [row for part in parts for row in part.table().to_dict("records")]
        typer.echo(_table([{str(k): v for k, v in row.items()} for row in rows]))
        if parts[0].note:
            _say(parts[0].note)
    for error in errors:
        _say(error)
    if errors:
        raise typer.Exit(2)


def _classified(
    paths: Sequence[Path], model: str, classes: list[str] | None, prompt: str | None, opening: dict[str, Any]
) -> tuple[list[Classification], list[str]]:
    """The answers, a few images at a time, and a sentence for each image that could not be read."""
    from tqdm import tqdm

    import gencls
    from gencls.downloads import cache_folder
    from gencls.models import zoo
    from gencls.stimuli.pictures import read_picture

    observer = gencls.load(model, **opening)
    # What was computed survives a kill: the same command finds it again. When all is answered, it goes.
    same = {name: value for name, value in opening.items() if name not in ("device", "engine", "workers", "address")}
    asked = repr([[path.resolve() for path in paths], model, zoo.state(model), classes, prompt, same])
    unfinished = cache_folder() / "unfinished" / hashlib.sha256(asked.encode()).hexdigest()[:12]
    options: dict[str, Any] = {"unfinished": unfinished} | ({} if prompt is None else {"prompt": prompt})
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _say(
            f"{unfinished} cannot be made ({error.strerror}), so that nothing is kept if this is stopped; GENCLS_CACHE names another folder"
        )
        del options["unfinished"]
    parts, errors = [], []
    with tqdm(total=len(paths), desc=model, unit="image", disable=not sys.stderr.isatty()) as bar:
        for start in range(0, len(paths), CHUNK):
            some, pictures = paths[start : start + CHUNK], []
            for path in some:
                try:
                    pictures.append(read_picture(path))
                except GenclsError as error:
                    errors.append(str(error))
            if pictures:
                following = len(paths) - start - len(some)
                parts.append(observer.classify(pictures, classes, following=following, **options))
            bar.update(len(some))
    shutil.rmtree(unfinished, ignore_errors=True)
    return parts, errors


def _joined(parts: Sequence[Classification]) -> dict[str, Any]:
    whole = parts[0].to_dict()
    whole["images"] = [image for part in parts for image in part.to_dict()["images"]]
    compiled = {part.scores.attrs.get("compiled") for part in parts}
    if len(compiled) > 1:
        whole["compiled"] = "in part"
    return whole


@app.command()
def models() -> None:
    """List the models that are named here, how often they are right on held-out photos, and the families of other people's.

    A family is opened by an id of the hub or from a folder; `paper` is what it stands for there, then the
    network's parameters, counted or as its makers' card states them, and whether a licence must be accepted first.
    """
    from gencls.models import zoo
    from gencls.models.families import FAMILIES

    rows = []
    for entry in zoo.ENTRIES:
        accuracy = zoo.facts(entry.id).get("in_distribution_accuracy")
        rows.append(
            {
                "model": entry.id,
                "kind": entry.kind,
                "world": entry.world,
                "weights": "here" if zoo.is_here(entry.id) else "not here",
                "accuracy": f"{accuracy['value']:.1%} of {accuracy['n']}" if accuracy else "",
                "what": entry.what,
            }
        )
    typer.echo(_table(rows))
    typer.echo("\nAny other model of these families, by its id or from a folder:")
    typer.echo(
        _table(
            {"family": f.name, "in the paper": f.paper, "parameters, access": f.needs, "for example": f.example}
            for f in FAMILIES
        )
    )


@app.command(epilog="Example: `gencls stimuli cue-conflict --save mine` writes the 240 images and a table of them.")
def stimuli(
    name: Annotated[list[str] | None, typer.Argument(help="Sets by name. [default: all of the world]")] = None,
    world: Annotated[str, typer.Option(help="`shapes`, `natural` or `full`.")] = "shapes",
    save: Annotated[
        Path | None, typer.Option(help="Write PNG images, stimuli.csv and categories.txt into a folder a set.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", help="How many; of manipulated photos, a condition. [default: as many as the book shows]"),
    ] = None,
) -> None:
    """List the stimulus sets of a world, or write them as PNG images."""
    from gencls.stimuli import benchmark, manipulations, saved
    from gencls.worlds import open_world

    opened = open_world(world)
    for wanted in name or []:
        if wanted not in opened.sets:
            opened.stimuli(wanted)  # raises, and says which there are
    wanted_sets = name or opened.sets
    if save is None:
        levels = {"shapes": manipulations.SHAPES_LEVELS, "natural": manipulations.NATURAL_LEVELS}
        conditions = levels.get(world, benchmark.CONDITIONS)
        typer.echo(_table([{"set": s, "conditions": ", ".join(conditions.get(s, ["-"]))} for s in wanted_sets]))
        return
    for wanted in wanted_sets:
        typer.echo(saved.write(opened.stimuli(wanted, n), save / wanted, progress=sys.stderr.isatty()))


@app.command(epilog="Examples: `gencls train shapes/resnet`, `gencls train shapes/pixel@1` (another training seed)")
def train(
    model: Annotated[str, typer.Argument(metavar="ID", help="A model of this project; @1, @2, … name other seeds.")],
    out: Annotated[Path | None, typer.Option(help="The model's folder. [default: runs/weights/ID]")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the training photos in this folder between runs.")] = None,
    snapshots: Annotated[
        int,
        typer.Option(
            min=0, help="Keep this many classifiers along the training: after a half of its steps, a quarter, …"
        ),
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="As many steps as a probe finds this machine to do in so long. [default: the recipe's number]",
        ),
    ] = None,
    presentations: Annotated[
        int | None, typer.Option(min=1, help="About so many images are shown. [default: the recipe's number]")
    ] = None,
    device: Annotated[str, typer.Option(help=DEVICE)] = "auto",
) -> None:
    """Train a model again from its recipe; a run that was stopped goes on where it was.

    What a generative model draws along the way is put into `<out>-samples/`.
    """
    from gencls.training.recipes import train as train_model

    place = (out or Path("runs", "weights", model)).resolve()
    folder = train_model(
        model, place, cache, snapshots=snapshots, minutes=minutes, presentations=presentations, device=device
    )
    typer.echo(folder)


@data.command("list")
def list_data() -> None:
    """List the public data that gencls reads, and which are here."""
    from gencls import downloads

    rows = [
        {"name": s.name, "here": "yes" if downloads.find(s) else "no", "licence": s.licence, "what": s.about}
        for s in downloads.SOURCES.values()
    ]
    typer.echo(_table(rows))


@data.command(
    epilog="Example: `gencls data fetch texture-vs-shape model-vs-human` is what the world `full` needs first."
)
def fetch(name: Annotated[list[str], typer.Argument(help="Names from `gencls data list`.")]) -> None:
    """Fetch public data into the cache, checked against pinned digests, and print where they are."""
    from gencls import downloads

    for source in [downloads.source(wanted) for wanted in name]:
        typer.echo(downloads.fetch(source))


def _table(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as aligned text, numbers with three decimals."""
    rows = [{k: f"{v:.3f}" if isinstance(v, float) else str(v) for k, v in row.items()} for row in rows]
    if not rows:
        return ""
    lines = [{name: name for name in rows[0]}, *rows]
    widths = {name: max(len(line[name]) for line in lines) for name in rows[0]}
    return "\n".join("  ".join(line[name].ljust(widths[name]) for name in widths).rstrip() for line in lines)


def main() -> None:
    """The entry point. What is asked to end (SIGTERM) cleans up as at Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
