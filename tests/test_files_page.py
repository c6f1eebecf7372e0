"""The page on our files lists what the code writes."""

import importlib.util

import pytest

from photospec.analysis.properties import COLUMNS
from photospec.spectrum.own_files import OBJECT_COLUMNS
from photospec.utils.tables import TABLE_FORMATS


@pytest.fixture(scope="module")
def listing(repository):
    path = repository / "docs" / "_ext" / "tables_of_files.py"
    if importlib.util.find_spec("docutils") is None:
        pytest.skip("docutils is not installed")
    spec = importlib.util.spec_from_file_location("tables_of_files", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_column_of_properties_is_listed_with_its_meaning(listing):
    rows = {name: (unit, text) for name, unit, text in listing.property_columns()}
    others = {"file", "image", "ra", "dec", "bpt_class", "bpt_class_probability", "broad_line"}
    others |= {
        "agn_score",
        "agn",
        "agn_probability",
        "n_candidates",
        "flags",
        "image_flags",
        "similarity",
        "galactic_ebv",
    }
    assert set(rows) == set(COLUMNS) | others | {"drawn_redshift", "expected_redshift"}
    assert all(text for _, text in rows.values())
    for name, unit in COLUMNS.items():
        assert rows[name][0] == str(unit or "")


def test_the_page_has_all_lists(listing, repository):
    page = (repository / "docs" / "files.rst").read_text()
    for kind in listing.KINDS:
        assert f".. tables-of-files:: {kind}\n" in page
        assert listing.listing(kind)[0] == ".. list-table::"
    assert [row[0] for row in listing.object_columns()] == list(OBJECT_COLUMNS)
    assert [row[0] for row in listing.table_formats()] == list(TABLE_FORMATS)


def test_suffixes_of_the_command_line_are_those_of_the_formats():
    from photospec.cli.tables import TABLE_SUFFIXES

    assert tuple(TABLE_FORMATS) == TABLE_SUFFIXES
