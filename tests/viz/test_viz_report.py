"""The report is one page that needs nothing else and tells everything it was given."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, strategies as st

from jaxaet.viz import atoms_view, convergence_figure, save_figure, write_report
from jaxaet.viz.tables import label, tables, text

HOSTILE = "</pre></script><script>alert(1)</script><img src=http://evil.example/x onerror='alert(2)'> & \"{{ 7 * 7 }}\""
METRICS = {
    "atoms_found_percent": 99.5,
    "atoms_spurious": 3,
    "converged": True,
    "rmsd_pm": {"Mo": 4.875, "S": 15.25},
    "cramer_rao_pm": {"Mo": 4.75, "S": 15.125},
    "stages": {"trace": {"peak_memory_mb": 512.5, "seconds": 7.25}, "note": "a stage"},
}
PROVENANCE = {"seed": 4711, "versions": {"jax": "0.10.1"}}


class Page(HTMLParser):
    """Every tag with its attributes, the text outside scripts, and the style sheets."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text, self.styles, self._open = [], [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self._open[-1] if self._open else ""
        (self.styles if inside == "style" else [] if inside == "script" else self.text).append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with two figures and hostile text in every place that takes text: its source, its page, its PNGs."""
    folder = tmp_path_factory.mktemp("report")
    pngs = [folder / "loss.png", folder / "again.png"]
    for i, png in enumerate(pngs):
        save_figure(convergence_figure(np.arange(3.0) + i, None), png)
    figures = [("The loss", f"It falls. {HOSTILE}", pngs[0]), (f"Again {HOSTILE}", "It falls again.", str(pngs[1]))]
    view = atoms_view(np.eye(3), [HOSTILE, "S", "S"], 0.05 * np.eye(3), HOSTILE)
    path = folder / "new" / "report.html"
    write_report(path, HOSTILE, f"All found. {HOSTILE}", METRICS, figures, view, HOSTILE, {**PROVENANCE, "x": HOSTILE})
    source = path.read_text(encoding="utf-8")
    return source, Page(source), [png.read_bytes() for png in pngs]


def test_nothing_is_loaded_from_elsewhere(report):
    _, page, _ = report
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
        assert "url(" not in (attributes.get("style") or "")
        assert tag not in {"link", "iframe", "object", "embed", "base"}
    styles = " ".join(page.styles)
    assert "body" in styles
    assert not re.search(r"url\(|@import", styles)
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_hostile_text_stays_text(report):
    source, page, _ = report
    assert "<script>alert(1)" not in source
    assert "<img src=http" not in source
    assert not any("onerror" in attributes for _, attributes in page.tags)
    shown = "".join(page.text)
    assert shown.count(HOSTILE) >= 5  # the title twice, the summary, a caption, a heading, the config, a provenance row
    assert "49" not in re.sub(r"4711", "", shown)


def test_plotly_is_inlined_once_and_the_view_comes_before_the_figures(report):
    source, page, _ = report
    scripts = [t for t, _ in page.tags if t == "script"]
    assert source.count("* plotly.js v") == 1
    assert len(scripts) == source.count("</script>")
    assert 0 < source.index("Plotly.newPlot(") < source.index("<figure>")
    assert any(attributes.get("id") == "atoms" for _, attributes in page.tags)


def test_every_figure_is_inside_with_its_words(report):
    _, page, pngs = report
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [base64.b64decode(image["src"].split(",")[1]) for image in images] == pngs
    assert [image["alt"] for image in images] == ["The loss", f"Again {HOSTILE}"]
    assert "It falls again." in page.text


def test_every_metric_is_told_with_its_unit(report):
    _, page, _ = report
    shown = [piece.strip() for piece in page.text]
    for expected in (
        *("atoms found (%)", "99.5", "atoms spurious", "3", "converged", "yes"),
        *("rmsd (pm)", "Cramér-Rao bound (pm)", "Mo", "S", "4.875", "15.25", "4.75", "15.12"),
        *("peak memory (MB)", "512.5", "7.25", "a stage", "seed", "4711", "jax", "0.10.1"),
    ):
        assert expected in shown, expected


def test_a_report_without_view_figures_or_metrics(tmp_path):
    write_report(tmp_path / "report.html", "Nothing", "No atoms.", {}, [], None, "", {})
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No atoms." in source
    assert "plotly" not in source
    assert "<h2>Results" not in source


def test_a_failed_report_keeps_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(FileNotFoundError):
        write_report(path, "t", "s", {}, [("a", "b", tmp_path / "absent.png")], None, "", {})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_by_species_stand_side_by_side():
    plain, by_species, trace = tables(
        {k: METRICS[k] for k in ("atoms_spurious", "rmsd_pm", "cramer_rao_pm", "stages")}
    )[:3]
    assert plain.rows == [("atoms spurious", ["3"])]
    assert by_species.columns == ["Mo", "S"]
    assert by_species.rows[0] == ("rmsd (pm)", ["4.875", "15.25"])
    assert trace.title == "stages"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("rmsd_pm", "rmsd (pm)"),
        ("r1_percent", "R1 factor (%)"),
        ("angle_rms_error_deg", "angle rms error (°)"),
        ("dose_e_per_a2", "dose (e/Å²)"),
        ("min_distance_a", "min distance (Å)"),
        ("frequency_mev", "frequency (meV)"),
        ("S", "S"),
        ("pm", "pm"),
    ],
)
def test_units_of_keys(key, words):
    assert label(key) == words


@given(value=st.floats(-1e6, 1e6, allow_subnormal=False))
def test_numbers_keep_four_digits(value):
    assert float(text(value).replace("−", "-")) == pytest.approx(value, rel=6e-4)
    assert text(np.float64(value)) == text(value)


def test_long_lists_say_their_length():
    assert text([1, None, 2.5]) == "1, –, 2.5"
    assert text(np.arange(100)).endswith("(100 in all)")


@given(
    values=st.recursive(
        st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(10**6, 10**9), min_size=1, max_size=3),
        lambda inner: st.dictionaries(st.text("xyz", min_size=1, max_size=3), inner, min_size=1, max_size=3),
        max_leaves=6,
    )
)
def test_tables_lose_no_number(values):
    def leaves(block):
        return [x for v in block.values() for x in (leaves(v) if isinstance(v, dict) else [str(v)])]

    told = [number for table in tables(values) for _, numbers in table.rows for number in numbers]
    assert sorted(told) == sorted(leaves(values))
