"""True indices against hand-made spectra and against the analysis of spectra."""

import numpy as np
import pytest
from astropy import units as u
from specutils import Spectrum

from photospec.analysis.indices import measure_indices
from photospec.analysis.indices.definitions import INDICES, LICK
from photospec.simulation.truth import index_columns
from photospec.spectrum.wavelengths import air_to_vacuum

GRID = 10 ** (np.log10(2900.0) + 1e-4 * np.arange(5869))
REDSHIFT = np.array([0.0, 0.1])


def test_break_of_a_step():
    rest = GRID / (1 + REDSHIFT[:, None])
    flux_nu = np.where(rest > 3975, 1.6, 1.0)
    columns = index_columns(GRID, flux_nu / GRID**2, REDSHIFT, [INDICES["d4000"]])
    np.testing.assert_allclose(columns["dn4000"], 1.6, rtol=2e-3)
    np.testing.assert_allclose(columns["d4000"], 1.6, rtol=2e-3)


def test_box_absorption_on_a_slope():
    index = INDICES["mgb"]
    low, high = air_to_vacuum(np.array([5165.0, 5180.0]))
    rest = GRID / (1 + REDSHIFT[:, None])
    inside = (rest > low) & (rest < high)
    flux = rest / 5000 * np.where(inside, 0.7, 1.0)
    columns = index_columns(GRID, flux, REDSHIFT, [index, INDICES["mg2"]])
    # Pixels of 1.2 A cut the box a little short or long.
    np.testing.assert_allclose(columns["lick_mgb"], 0.3 * (high - low), atol=0.5)
    np.testing.assert_allclose(columns["lick_mgb"][0], 0.3 * 1.19 * inside[0].sum(), rtol=5e-3)
    width = INDICES["mg2"].band[1] - INDICES["mg2"].band[0]
    expected = -2.5 * np.log10(1 - columns["lick_mgb"] / width)
    np.testing.assert_allclose(columns["lick_mg2"], expected, rtol=0.02)


def test_every_index_as_the_analysis_measures_it(batch):
    part = batch[:6]
    definitions = [INDICES[name] for name in (*LICK, "dn4000", "d4000")]
    redshift = part.object["redshift"]
    columns = index_columns(part.fibre_wavelength, part.fibre_flux, redshift, definitions)
    spectrum = Spectrum(
        part.fibre_flux.astype(float) * u.Unit("1e-17 erg / (s cm2 Angstrom)"),
        spectral_axis=part.fibre_wavelength * u.AA,
    )
    measured = measure_indices(spectrum, redshift=redshift, indices=[d.name for d in definitions])
    measured = measured if hasattr(measured, "colnames") else measured.to_table()
    for definition in definitions:
        name = definition.name if definition.kind == "break" else f"lick_{definition.name}"
        column = name if name in measured.colnames else definition.name
        found = np.array([float(getattr(v, "value", v)) for v in measured[column]])
        tolerance = 0.003 if definition.kind != "angstrom" else 0.02
        np.testing.assert_allclose(columns[name], found, atol=tolerance, err_msg=name)


def test_index_outside_the_spectrum_is_not_a_number():
    columns = index_columns(
        GRID[3000:], np.ones((1, GRID.size - 3000)), np.array([0.0]), [INDICES["hdelta_a"]]
    )
    assert np.isnan(columns["dn4000"]).all()
    assert np.isnan(columns["lick_hdelta_a"]).all()


@pytest.mark.parametrize("redshift", [0.03, 0.25])
def test_flat_spectra_have_no_lines(redshift):
    columns = index_columns(
        GRID, np.ones((1, GRID.size)), np.array([redshift]), [INDICES[name] for name in LICK]
    )
    columns.pop("dn4000")
    for name, value in columns.items():
        assert value == pytest.approx(0, abs=1e-6), name
