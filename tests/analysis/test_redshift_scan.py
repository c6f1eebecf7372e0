"""The fast scan against slow, independent arithmetic."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from photospec.analysis.redshift import scan as redshift_scan
from photospec.analysis.redshift.errors import _without_each_part
from photospec.analysis.redshift.fit import COARSE, _shift_range
from photospec.analysis.redshift.outliers import narrow_features
from photospec.analysis.redshift.scan import chi2_at_shifts, chi2_scan, resample_log
from photospec.analysis.redshift.templates import (
    LINE_GROUPS,
    LOG_STEP,
    line_strengths,
    redshift_templates,
)
from photospec.lines import LINES


@pytest.fixture(scope="module")
def log_spectra(make_galaxy):
    galaxy = make_galaxy(0.08, signal_to_noise=10)
    flux = np.stack([galaxy.flux.value, galaxy.flux.value[::-1]])
    ivar = np.full(flux.shape, 4.0)
    ivar[0, 500:700] = 0
    return resample_log(galaxy.spectral_axis.value, flux, ivar, 3)


def test_fourier_scan_equals_direct_sums(log_spectra):
    chi2 = chi2_scan(log_spectra, -3, 400)
    shifts = np.array([-3, 0, 57, 111, 112, 250, 399])
    for row in (0, 1):
        direct, _ = chi2_at_shifts(log_spectra, row, shifts, n_continuum=redshift_scan.N_COARSE)
        np.testing.assert_allclose(chi2[row, shifts + 3], direct, rtol=1e-6)


def test_direct_sums_equal_bounded_least_squares(log_spectra):
    shift = 111  # 3 * 111 template pixels: z = 0.0797
    n_coarse = redshift_scan.N_COARSE
    chi2, model = chi2_at_shifts(log_spectra, 0, np.array([shift]), n_continuum=n_coarse)
    templates = redshift_templates()
    kept = np.r_[:n_coarse, templates.n_continuum : len(templates.flux)]
    n_bins = templates.flux.shape[1] // 3
    binned = templates.flux[kept, : 3 * n_bins].reshape(len(kept), n_bins, 3).mean(2)
    first, n_pixels = log_spectra.first - shift, log_spectra.flux.shape[1]
    polynomials = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, n_pixels), 3)
    design = np.column_stack([binned[:, first : first + n_pixels].T, polynomials])
    root = np.sqrt(log_spectra.weight[0])
    lower = np.full(design.shape[1], -np.inf)
    lower[n_coarse : n_coarse + len(LINE_GROUPS)] = 0
    scale = np.linalg.norm(design * root[:, None], axis=0)
    best = lsq_linear(
        design * root[:, None] / scale, root * log_spectra.flux[0], (lower, np.inf), tol=1e-12
    )
    assert chi2[0] == pytest.approx(2 * best.cost, rel=1e-4)
    seen = log_spectra.weight[0] > 0
    expected = (design / scale @ best.x)[seen]
    np.testing.assert_allclose(model[0][seen], expected, atol=2e-3 * np.abs(expected).max())


def test_resampling_keeps_flux_and_information():
    wavelength = np.arange(4000.0, 8000.0, 0.7)
    flux = np.random.default_rng(0).normal(5, 1, (2, wavelength.size))
    ivar = np.random.default_rng(1).uniform(1, 2, flux.shape)
    spectra = resample_log(wavelength, flux, ivar, 3)
    np.testing.assert_allclose(spectra.weight.sum(axis=1), ivar.sum(axis=1))
    np.testing.assert_allclose(
        (spectra.weight * spectra.flux).sum(axis=1), (ivar * flux).sum(axis=1)
    )


def test_templates_are_where_the_lines_are():
    templates = redshift_templates()
    wavelength = np.exp(templates.log_wavelength)
    assert templates.step == pytest.approx(LOG_STEP)
    for group, flux in zip(LINE_GROUPS, templates.flux[templates.n_continuum :], strict=True):
        peak = wavelength[np.argmax(flux)]
        # The [O II] doublet is blended: its peak lies between the two.
        near = [abs(np.log(peak / LINES[name].wavelength)) for name in LINE_GROUPS[group]]
        assert min(near) < (5 if group.startswith("oii_") else 0.6) * LOG_STEP
    # Calcium absorption of the populations, in vacuum: the mean of all.
    depth = templates.flux[0] * np.sign(templates.flux[0].mean())
    near = np.abs(wavelength - LINES["ca_k"].wavelength) < 8
    assert wavelength[near][np.argmin(depth[near])] == pytest.approx(3934.8, abs=1.5)


def test_line_ratios_are_those_of_physics():
    """Case B (Osterbrock & Ferland 2006, table 4.4) and Storey & Zeippen 2000."""
    strengths = line_strengths()
    balmer, reddened = strengths["balmer"], strengths["balmer_reddened"]
    assert balmer["halpha"] / balmer["hbeta"] == pytest.approx(2.86, rel=0.05)
    assert balmer["hgamma"] / balmer["hbeta"] == pytest.approx(0.468, rel=0.05)
    # Calzetti: k(Hbeta) - k(Halpha) = 1.27.
    extra = 10 ** (0.4 * 1.27)
    assert reddened["halpha"] / reddened["hbeta"] == pytest.approx(2.86 * extra, rel=0.06)
    assert 1 / strengths["oiii"]["oiii_4959"] == pytest.approx(2.98, rel=0.05)
    assert 1 / strengths["nii"]["nii_6548"] == pytest.approx(3.05, rel=0.05)


def test_range_of_shifts_has_margins_on_both_sides():
    """0.12 of ln(1 + z) beyond the range asked for, but not further below zero than 0.01."""
    step = COARSE * LOG_STEP
    below = np.log(0.95) - 0.01
    for low, high, lowest in [
        (0.2, 0.3, np.log(1.2) - 0.12),
        (0.02, 0.1, -0.01),
        (-0.05, 0.1, below),
    ]:
        expected = np.floor(lowest / step), np.ceil((np.log1p(high) + 0.12) / step) + 1
        assert _shift_range((low, high)) == expected


def test_minima_without_each_part_do_not_depend_on_the_shifts_looked_at(make_galaxy):
    """Wherever the lowest chi2 lies among them: in the middle or near their ends."""
    galaxy = make_galaxy(0.08, signal_to_noise=10)
    flux = galaxy.flux.value[None]
    fine = resample_log(galaxy.spectral_axis.value, flux, np.full(flux.shape, 4.0), 1)
    middle = int(np.argmin(chi2_at_shifts(fine, 0, np.arange(320, 350), n_continuum=5)[0])) + 320
    found = [
        _without_each_part(fine, 0, middle + np.arange(-left, right + 1))
        for left, right in [(8, 8), (2, 14), (14, 2)]
    ]
    assert np.abs(found[0] - middle).max() < 2
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)


def test_narrow_features_stand_out_of_their_neighbours():
    noise = np.random.default_rng(3).standard_normal((3, 400))
    noise[1, 100] += 30
    noise[2, 200:203] -= 30
    weight = np.ones(noise.shape)
    weight[2] = 0
    found = narrow_features(noise, weight)
    assert np.argwhere(found).tolist() == [[1, 100]]
    assert narrow_features(noise, np.ones(noise.shape))[2].nonzero()[0].tolist() == [200, 201, 202]
