"""A Sphinx extension that makes `jupyter-book build .` work by itself, with nothing from another host.

It executes the chapters that were never run, writes mathematics as MathML, copies each page's data
beside it, and lets the launch button open the chapter's source.
"""

from __future__ import annotations

import html
import os
import re
import shutil
from pathlib import Path
from typing import Any

from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

from gencls.book import EXECUTED, RENDER_ONLY, execute_pages
from gencls.errors import GenclsError

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point: `sphinx: extra_extensions: [gencls.pages]` in `_config.yml`."""
    app.setup_extension("sphinx.ext.napoleon")  # and with it autodoc, whose event is used below
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("config-inited", _execute_missing, priority=100)
    app.connect("html-page-context", _without_thebe, priority=900)
    app.connect("html-page-context", _launch_the_source, priority=900)
    app.connect("build-finished", _copy_data)
    app.connect("autodoc-process-docstring", _explain_parameters, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _execute_missing(app: Sphinx, config: Any) -> None:
    if os.environ.get(RENDER_ONLY):
        return
    try:
        execute_pages(root=app.srcdir, missing_only=True, log=lambda line: logger.info(line))
    except GenclsError as error:
        from sphinx.errors import ExtensionError

        raise ExtensionError(str(error)) from None


# docutils puts the subscript of an accented letter under the letter; an empty group takes it instead.
_ACCENTED = re.compile(
    r"(\\(?:hat|widehat|bar|tilde|widetilde|vec|dot|overline)\s*(?:\{[^{}]*\}|\\[a-zA-Z]+|\w))\s*(?=[_^])"
)


def _mathml(translator: Any, node: Any, block: bool) -> str:
    latex = node.astext()
    known = _ACCENTED.sub(r"\1{}", latex).replace(r"\operatorname*", r"\operatorname")
    try:
        return tex2mathml(known, as_block=block)
    except MathError as error:
        logger.warning("mathematics that cannot be shown (%s): %s", error, latex, location=node)
        return f"<code>{html.escape(latex)}</code>"


def _inline(translator: Any, node: Any) -> None:
    from docutils import nodes

    translator.body.append(f'<span class="math">{_mathml(translator, node, False)}</span>')
    raise nodes.SkipNode


def _block(translator: Any, node: Any) -> None:
    from docutils import nodes

    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    targets = "".join(f'<span id="{i}"></span>' for i in node.get("ids", []))
    formula = _mathml(translator, node, True)
    translator.body.append(f'<div class="math gencls-scroll">{targets}{number}{formula}</div>')
    raise nodes.SkipNode


def _without_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Jupyter Book always loads thebe's starter, which would fetch thebe itself from a CDN; nothing uses it."""
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if "thebe" not in f"{s} {getattr(s, 'attributes', '')}".lower()]


def _launch_the_source(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Executed notebooks are not in the repository: let its buttons open `book/<chapter>.md` instead.

    The download button stays: it gives the executed notebook, which is copied to the built book's `_sources`.
    """
    parts = page.split("/")
    if parts[0] != EXECUTED:
        return
    for button in _buttons(context.get("header_buttons", [])):
        if not button["url"].startswith("https:"):
            continue
        for wrong in (f"{page}.ipynb", f"{page}.md"):
            button["url"] = button["url"].replace(wrong, f"book/{parts[-1]}.md")


def _buttons(groups: Any) -> list[dict[str, Any]]:
    found = []
    for item in groups:
        if isinstance(item, dict):
            found += [item] if isinstance(item.get("url"), str) else []
            found += _buttons(item.get("buttons", []))
    return found


def _explain_parameters(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings have `name : what it is`; napoleon reads what follows the colon as a type, so move it."""
    inside, done = False, []
    for i, line in enumerate(lines):
        if line.strip() and not line.startswith(" ") and set(line.strip()) == {"-"}:
            inside = lines[i - 1].strip() == "Parameters"
        before, colon, after = line.partition(" : ")
        done += [before, f"    {after}"] if inside and colon and not line.startswith(" ") else [line]
    lines[:] = done


def _copy_data(app: Sphinx, error: Exception | None) -> None:
    source = Path(app.srcdir) / EXECUTED
    if error or app.builder.format != "html":
        return
    for pattern in ("*/*/results.json", "*/*/*.csv"):
        for file in source.glob(pattern):
            target = Path(app.outdir) / EXECUTED / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
