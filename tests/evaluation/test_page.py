"""The page of a report, as a reader opens it."""

import numpy as np
import pytest
from astropy.table import Table

from photospec.errors import InputError
from photospec.evaluation.chapters.bins import quantile_groups
from photospec.evaluation.chapters.subsets import groups_of_column
from photospec.evaluation.comparisons import plot_bpt, plot_one_to_one, plot_relation, plot_roc
from photospec.evaluation.page import write_page
from photospec.evaluation.parts import Chapter, Panel, Plot
from photospec.evaluation.value import Section, Value

pytest.importorskip("jinja2")
ODD = 'a <b>name</b> & "quotes" | bars'


def chapters():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(80)
    y = x + 0.3 * rng.standard_normal(80)
    columns = [f"an answer with a long name, number {i}" for i in range(8)]
    rows = [{ODD: f"row {i}"} | {c: Value(0.1 * i, 0.01) for c in columns} for i in range(30)]
    plots = [
        Panel("Dn4000", lambda axes: plot_one_to_one(axes, x, y, label="Dn4000")),
        Panel("a relation", lambda axes: plot_relation(axes, (x, y), (x, -y), labels=("a", "b"))),
        Panel(ODD, lambda axes: plot_bpt(axes, 0.2 * x - 0.5, 0.3 * y, agn=x > 0)),
    ]
    return [
        Chapter("one", "First", f"Text of {ODD}.", [Section("table", "A table", rows, "A note.")]),
        Chapter("two", "Second", "More text. " * 30, [Plot("figure", "A caption.", plots)]),
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    provenance = {"Weights": {"survey": {"a": [1, 2] * 60}, ODD: "x" * 300}}
    write_page(folder / "report.html", chapters(), provenance, title=ODD, folder=folder / "parts")
    return folder


def test_everything_is_in_one_file(written):
    text = (written / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 3
    assert "<script" not in text
    assert "http" not in text
    assert "<b>" not in text  # names from the user's data are escaped
    assert "a &lt;b&gt;name&lt;/b&gt;" in text


def test_tables_and_figures_lie_beside_it(written):
    table = Table.read(written / "parts" / "table.ecsv")
    assert len(table) == 30
    assert "an answer with a long name, number 3 error" in table.colnames
    assert (written / "parts" / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert 'href="parts/figure.pdf"' in (written / "report.html").read_text()
    names = sorted(path.name for path in written.rglob("*") if path.is_file())
    assert names == ["figure.pdf", "report.html", "table.ecsv"]


def test_a_browser_shows_all_of_it(written, browser):
    found, errors = browser(written / "report.html", (390, 1280))
    assert errors == []
    for width, page in found.items():
        assert [shown for _, shown, _ in page["images"]] == [True] * 3
        assert min(size for *_, size in page["images"]) > 300  # labels keep their size
        assert page["content"] <= width
        assert page["outside"] == []
        assert page["text"] >= 12
        assert page["dead"] == []
        assert page["loaded"] == []


def test_groups_of_equal_size():
    groups = quantile_groups(np.r_[np.arange(100.0), np.nan])
    assert [len(g) for g in groups] == [20] * 5
    assert groups[1].middle == pytest.approx(29.5)
    assert [len(g) for g in quantile_groups(np.arange(20.0))] == [10, 10]
    assert [len(g) for g in quantile_groups(np.ones(30))] == [30]
    assert quantile_groups(np.full(3, np.nan)) == []


def test_subsets_by_any_column():
    table = Table(
        {
            "kind": ["a", "b"] * 20,
            "number": np.arange(40.0),
            "count": np.arange(40),
            "flag": np.arange(40) % 4 == 0,
            "name": [f"galaxy {i}" for i in range(40)],
        }
    )
    assert [(g.label, len(g)) for g in groups_of_column(table, "kind")] == [("a", 20), ("b", 20)]
    assert [(g.label, len(g)) for g in groups_of_column(table, "flag")] == [
        ("False", 30),
        ("True", 10),
    ]
    assert len(groups_of_column(table, "number")) == len(groups_of_column(table, "count")) == 5
    with pytest.raises(InputError, match="of 12 kinds at most, got 'name' with 40"):
        groups_of_column(table, "name")
    with pytest.raises(InputError, match="subsets: expected columns of the pairs"):
        groups_of_column(table, "nothing")


def test_roc_knows_a_perfect_score():
    from matplotlib.figure import Figure

    pytest.importorskip("sklearn")
    axes = Figure().subplots()
    truth = np.arange(10) > 4
    plot_roc(axes, truth, {"right": np.arange(10), "wrong": -np.arange(10)})
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["right: 1.000", "wrong: 0.000"]
