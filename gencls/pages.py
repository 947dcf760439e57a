"""A Sphinx extension that makes `jupyter-book build .` work by itself, with nothing from another host.

It executes the chapters that were never run, writes mathematics as MathML, copies each page's data
beside it, and lets the launch button open the chapter's source.
"""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any

from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

from gencls.book import EXECUTED, execute_pages
from gencls.errors import GenclsError

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point: `sphinx: extra_extensions: [gencls.pages]` in `_config.yml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("config-inited", _execute_missing, priority=100)
    app.connect("html-page-context", _launch_the_source, priority=900)
    app.connect("build-finished", _copy_data)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _execute_missing(app: Sphinx, config: Any) -> None:
    try:
        execute_pages(root=app.srcdir, missing_only=True, log=lambda line: logger.info(line))
    except GenclsError as error:
        from sphinx.errors import ExtensionError

        raise ExtensionError(str(error)) from None


def _mathml(translator: Any, node: Any, block: bool) -> str:
    latex = node.astext()
    try:
        return tex2mathml(latex, as_block=block)
    except MathError as error:
        logger.warning("mathematics that cannot be shown (%s): %s", error, latex, location=node)
        return f"<code>{html.escape(latex)}</code>"


def _inline(translator: Any, node: Any) -> None:
    from docutils import nodes

    translator.body.append(f'<span class="math">{_mathml(translator, node, False)}</span>')
    raise nodes.SkipNode


def _block(translator: Any, node: Any) -> None:
    from docutils import nodes

    number = ""
    if node.get("number"):
        number = f'<span class="eqno">({node["number"]})</span>'
    ids = "".join(f'<span id="{i}"></span>' for i in node.get("ids", []))
    translator.body.append(
        f'<div class="math gencls-scroll">{ids}{number}{_mathml(translator, node, True)}</div>'
    )
    raise nodes.SkipNode


def _launch_the_source(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Executed notebooks are not in the repository: let its buttons open `book/<chapter>.md` instead."""
    parts = page.split("/")
    if parts[0] != EXECUTED:
        return
    for button in _buttons(context.get("header_buttons", [])):
        for wrong in (f"{page}.ipynb", f"{page}.md"):
            button["url"] = button["url"].replace(wrong, f"book/{parts[-1]}.md")


def _buttons(groups: Any) -> list[dict[str, Any]]:
    found = []
    for item in groups:
        if isinstance(item, dict):
            found += [item] if isinstance(item.get("url"), str) else []
            found += _buttons(item.get("buttons", []))
    return found


def _copy_data(app: Sphinx, error: Exception | None) -> None:
    source = Path(app.srcdir) / EXECUTED
    if error or app.builder.format != "html":
        return
    for pattern in ("*/*/results.json", "*/*/*.csv"):
        for file in source.glob(pattern):
            target = Path(app.outdir) / EXECUTED / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
