"""The report: one page that holds everything and asks the network for nothing."""

import base64
import struct
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jaxaet.viz.save import replacing
from jaxaet.viz.tables import tables

if TYPE_CHECKING:
    import plotly.graph_objects

PAGE_PIXELS_PER_FIGURE_PIXEL = 0.62


def write_report(
    path: str | Path,
    title: str,
    summary: str,
    metrics: Mapping,
    figures: Sequence[tuple[str, str, str | Path]],
    view: Optional["plotly.graph_objects.Figure"],
    config_text: str,
    provenance: Mapping,
) -> None:
    """Write one self-contained HTML page, whole or not at all.

    `metrics` and `provenance`: nested mappings with units as key suffixes. `figures`: (title, caption, path of a PNG).
    `view`: the interactive atoms, or None. All text is escaped. Raises `FileNotFoundError` for a missing PNG.
    """
    from jinja2 import Environment, StrictUndefined

    source = files("jaxaet.viz").joinpath("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = page.from_string(source).render(
        title=title,
        summary=summary,
        metrics=tables(metrics),
        figures=[(name, caption, *_embed(png)) for name, caption, png in figures],
        plotly_js=_plotly_js() if view is not None else "",
        view=_view_html(view) if view is not None else "",
        config_text=config_text,
        provenance=tables(provenance),
    )
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _embed(png: str | Path) -> tuple[str, int]:
    """A PNG as a data URI, and its width on the page; the width is the first number of the PNG's header chunk."""
    data = Path(png).read_bytes()
    width = struct.unpack(">I", data[16:20])[0]
    return "data:image/png;base64," + base64.b64encode(data).decode(), round(width * PAGE_PIXELS_PER_FIGURE_PIXEL)


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _view_html(view: "plotly.graph_objects.Figure") -> str:
    import plotly.io

    return plotly.io.to_html(
        view,
        include_plotlyjs=False,
        full_html=False,
        div_id="atoms",
        config={"displaylogo": False, "responsive": True},
    )
