"""Bootstrap errors against closed forms; tables that Sphinx and astropy can read."""

import numpy as np
import pytest
from astropy.table import Table

from photospec.evaluation.value import Section, Value, bootstrap, write_sections


def test_error_of_a_mean():
    x = np.random.default_rng(0).normal(3, 2, 2000)
    found = bootstrap(np.mean, x, n_bootstrap=400)
    assert found.value == pytest.approx(x.mean())
    assert found.error == pytest.approx(2 / np.sqrt(2000), rel=0.15)


def test_columns_are_resampled_together():
    x = np.random.default_rng(0).normal(size=300)
    assert bootstrap(lambda a, b: np.corrcoef(a, b)[0, 1], x, x).error == pytest.approx(0, abs=1e-9)


def test_nothing_has_no_value():
    assert np.isnan(bootstrap(np.mean, []).value)
    assert str(bootstrap(np.mean, [])) == "-"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.01234, 0.0005, "0.0123 ± 0.0005"),
        (12.3, 1.4, "12.3 ± 1.4"),
        (0.5, 0.012, "0.500 ± 0.012"),
        (123.4, 20.0, "123 ± 20"),
        (1.0, 0.0, "1"),
    ],
)
def test_digits_follow_the_error(value, error, text):
    assert str(Value(value, error)) == text


def test_tables_are_written(tmp_path):
    rows = [
        {"of": "this", "a": Value(1.0, 0.1), "n": 3},
        {"of": "that", "a": Value(2.0, 0.2), "n": 4, "b": "x"},
    ]
    write_sections([Section("numbers", "Some numbers", rows, "A note.")], tmp_path)
    table = Table.read(tmp_path / "numbers.ecsv")
    assert table["a error"].tolist() == [0.1, 0.2]
    assert table["n"].tolist() == [3, 4]
    assert table.meta["note"] == "A note."
    lines = (tmp_path / "numbers.inc").read_text().splitlines()
    assert lines[0] == lines[2] == lines[5]
    assert lines[0].split() == ["=" * 4, "=" * len("1.00 ± 0.10"), "=", "="]
    assert "Some numbers" in (tmp_path / "card.txt").read_text()


def test_rst_is_a_table_of_the_right_shape():
    core = pytest.importorskip("docutils.core")
    rows = [{"name": "", "a": Value(1.0, 0.1)}, {"name": "second", "a": Value(np.nan, 0.1)}]
    tree = core.publish_doctree(Section("s", "T", rows).to_rst())
    assert len(list(tree.findall(lambda node: node.tagname == "row"))) == 3


def test_bars_are_no_substitutions_in_rst():
    section = Section("a", "A", [{"of": "|d(g-r)|", "value": 1}])
    assert "\\|d(g-r)\\|" in section.to_rst()
    assert "|d(g-r)|" in str(section)
