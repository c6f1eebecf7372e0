"""Spectra measured in full, against the truth table of their simulation."""

import numpy as np
import pytest

from photospec.evaluation.draws import ResultStore
from photospec.evaluation.measured import measure_spectra
from photospec.evaluation.properties import line_rows, median_of_set, property_rows

LSF = np.full(4500, 2.4)


@pytest.fixture(scope="module")
def measured(pairs_path, tmp_path_factory):
    from photospec.pairs import PairsFile

    with PairsFile(pairs_path) as pairs:
        z = np.asarray(pairs.object["redshift"], float)
        rows = np.argsort(-np.asarray(pairs.truth["halpha_ew"]))[:4]
        store = ResultStore(tmp_path_factory.mktemp("measured"))
        found = measure_spectra(pairs.truth_flux(np.sort(rows)), z[np.sort(rows)], LSF, store=store)
        truth = {
            name: np.asarray(pairs.truth[name])[np.sort(rows)] for name in pairs.truth.colnames
        }
    return found, truth, store


def test_lines_and_break_agree_with_the_truth(measured):
    found, truth, _ = measured
    np.testing.assert_allclose(found["halpha_flux"], truth["halpha_flux"], rtol=0.1)
    np.testing.assert_allclose(found["dn4000"], truth["dn4000"], atol=0.03)


def test_what_has_no_redshift_is_left_out_and_shapes_are_kept(pairs):
    flux = pairs.truth_flux(slice(0, 2))[:, None]
    found = measure_spectra(flux, np.array([[np.nan], [-1.0]]), LSF)
    assert found["dn4000"].shape == (2, 1)
    assert np.isnan(found["dn4000"]).all()


def test_truth_against_itself(measured):
    found, _, store = measured
    assert len(list(store.folder.iterdir())) == 1
    correlation, scatter = property_rows({"itself": found}, found)
    by_name = {row["quantity"]: row for row in correlation}
    assert by_name["Dn4000"]["itself"].value == pytest.approx(1)
    assert {row["quantity"]: row for row in scatter}["Dn4000"]["itself"].value == 0
    lines = {row["line"]: row for row in line_rows({"itself": found}, found)}
    assert lines["Hα flux"]["itself"].value == 0
    assert lines["Hα flux"]["galaxies"] == 4


def test_median_of_a_set_skips_what_is_missing():
    values = np.array([[1.0, np.nan, 3.0], [np.nan] * 3])
    found = median_of_set({"dn4000": values})["dn4000"]
    assert found[0] == 2
    assert np.isnan(found[1])
