"""The bulk path, judged by pPXF, by scipy and by itself in other company."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import nnls

from photospec.analysis import fit_populations, measure_candidates, measure_properties
from photospec.analysis.bulk import (
    fit_populations_bulk,
    measure_lines_bulk,
    measure_redshift_bulk,
    reason_not_bulk,
)
from photospec.analysis.bulk.dusty import DustyFits
from photospec.analysis.bulk.emission import _strong
from photospec.analysis.bulk.frames import ObservedSpectra
from photospec.analysis.bulk.indices import indices_of_block
from photospec.analysis.bulk.kinematics import Lines, fit_kinematics
from photospec.analysis.bulk.library import library_of
from photospec.analysis.bulk.nonnegative import lower_triangles
from photospec.analysis.bulk.populations import INTERVAL
from photospec.analysis.emission.fit import _strong as exact_strong
from photospec.analysis.emission.fit import gauss_newton, minimise
from photospec.analysis.emission.measure import measure_lines
from photospec.analysis.emission.model import GROUPS, group_profiles
from photospec.analysis.gate import take
from photospec.analysis.indices.measure import indices_of_row
from photospec.analysis.populations.log_spectrum import SDSS_STEP, to_log_spectrum
from photospec.analysis.populations.resolution import resampling_matrix
from photospec.analysis.populations.templates import bc03_templates
from photospec.analysis.properties import COLUMNS, INDEX_COLUMNS
from photospec.analysis.redshift import measure_redshift
from photospec.errors import InputError
from photospec.lines import LINES
from photospec.spectrum import WAVELENGTH, from_arrays, to_arrays
from photospec.utils.constants import SPEED_OF_LIGHT

REDSHIFTS = (0.04, 0.08, 0.15, 0.06, 0.11, 0.3)


def _like_predicted(make_galaxy):
    """Smooth spectra of several ages, dispersions and line strengths, as a Spectrum."""
    ages = (4e9, 1e9, 8e9, 5e8, 3e9, 6e9)
    flux = [
        make_galaxy(
            z, age=age, lines=lines, dispersion=dispersion, wavelength=WAVELENGTH,
        ).flux.value
        for z, age, lines, dispersion in zip(
            REDSHIFTS, ages, (1, 3, 0.0, 5, 0.5, 1), (170, 200, 250, 180, 220, 240), strict=True
        )
    ]  # fmt: skip
    rng = np.random.default_rng(5)
    # What no model explains, at the resolution of the spectra: a few per mille.
    wiggle = rng.standard_normal((len(flux), WAVELENGTH.size // 5 + 2))
    at = WAVELENGTH / 5 - WAVELENGTH[0] / 5
    wiggle = np.array([np.interp(at, np.arange(w.size), w) for w in wiggle])
    return from_arrays(WAVELENGTH, np.array(flux) * (1 + 0.004 * wiggle), lsf=2.3)


@pytest.fixture(scope="module")
def spectra(make_galaxy):
    return _like_predicted(make_galaxy)


@pytest.fixture(scope="module")
def bulk(spectra):
    return measure_properties(spectra, method="bulk")


@pytest.fixture(scope="module")
def exact(spectra):
    return measure_properties(spectra, method="ppxf", n_processes=1)


@pytest.fixture(scope="module")
def library():
    return library_of(bc03_templates())


def _values(table, name):
    column = table[name]
    return np.ma.filled(np.ma.asarray(getattr(column, "value", column)), np.nan).astype(float)


def _rows(spectra):
    arrays = to_arrays(spectra)
    return [take(arrays, slice(i, i + 1)) for i in range(len(arrays))]


def test_same_columns_and_flags_as_the_exact_path(bulk, exact):
    assert bulk.colnames == exact.colnames
    assert all(bulk[name].unit == exact[name].unit for name in exact.colnames)
    assert bulk.meta["method"] == "bulk"
    assert exact.meta["method"] == "ppxf"
    # A ratio at the limit of three sigma may be there in one and missing in the other.
    kept = ("populations", "outside", "redshift")
    for one, other in zip(bulk["flags"], exact["flags"], strict=True):
        assert [f for f in one.split("; ") if any(k in f for k in kept)] == [
            f for f in other.split("; ") if any(k in f for k in kept)
        ]


def test_same_numbers_as_the_exact_path(bulk, exact):
    """Within half of the measurement error at the median, which is less than a prediction's."""
    np.testing.assert_allclose(bulk["redshift"], exact["redshift"], atol=3e-5)
    for name in COLUMNS:
        difference = _values(bulk, name) - _values(exact, name)
        error = _values(exact, f"{name}_error")
        ratio = np.abs(difference / error)[np.isfinite(difference)]
        if not ratio.size:  # beyond the red end, or too faint, on both paths
            assert np.isnan(difference).all()
            continue
        assert np.median(ratio) < 0.5, name
        assert ratio.max() < 3, name
        both = np.isfinite(_values(bulk, name)), np.isfinite(_values(exact, name))
        assert np.mean(both[0] == both[1]) > 0.8, name
    for name in COLUMNS:
        ratio = _values(bulk, f"{name}_error") / _values(exact, f"{name}_error")
        if np.isfinite(ratio).any():
            assert np.nanmedian(np.abs(np.log(ratio))) < 0.15, name


def test_dispersion_and_velocity_are_ppxfs(spectra):
    rows = _rows(spectra)[:3]
    fits = fit_populations_bulk(rows, np.array(REDSHIFTS[:3]) + 2e-4)
    for row, z, fit in zip(rows, REDSHIFTS, fits, strict=False):
        judge = fit_populations(row, z + 2e-4)
        assert fit.redshift == pytest.approx(judge.redshift, abs=2e-5)
        assert fit.velocity_dispersion == pytest.approx(judge.velocity_dispersion, rel=0.03)
        assert fit.chi2 * np.min(fit.sigma) ** 2 == pytest.approx(
            judge.chi2 * np.min(judge.sigma) ** 2, rel=0.1
        )


def test_one_bad_spectrum_changes_no_other_bit(spectra):
    rows = _rows(spectra)
    flux = rows[0].flux.copy()
    noise = np.random.default_rng(0).uniform(0.1, 2, flux.shape)
    zero, spike = flux * 0 + 1, flux.copy()
    spike[0, 2000:2010] = 1e6
    bad = [
        replace(rows[0], flux=noise),  # no redshift can be trusted
        replace(rows[0], flux=spike),
        replace(rows[0], flux=zero),
        replace(rows[0], flux=-flux),
        replace(rows[0], mask=np.ones(flux.shape, bool)),
        replace(rows[0], lsf=rows[0].lsf * 0.1),
    ]
    mixed = [bad[0], rows[0], *bad[1:3], rows[1], rows[2], *bad[3:], rows[3]]
    places = [1, 4, 5, -1]
    alone = measure_properties(rows[:4], method="bulk", n_processes=1)
    among = measure_properties(mixed, method="bulk", n_processes=1)
    single = measure_properties(rows[1], method="bulk")
    for name in alone.colnames:
        one, other = alone[name], among[places][name]
        if one.dtype.kind == "f":
            assert _values(alone, name).tobytes() == _values(among[places], name).tobytes(), name
            np.testing.assert_array_equal(_values(alone, name)[1:2], _values(single, name))
        else:
            assert list(one) == list(other), name


def test_a_spectrum_whose_fit_fails_is_fitted_alone(spectra, monkeypatch):
    from photospec.analysis.bulk import populations

    together = populations._fit_together

    def fails(sources, frames, step, seed):
        if np.any(frames.redshift == REDSHIFTS[1]):
            raise np.linalg.LinAlgError("no")
        return together(sources, frames, step, seed)

    monkeypatch.setattr(populations, "_fit_together", fails)
    fits = fit_populations_bulk(_rows(spectra)[:3], np.array(REDSHIFTS[:3]))
    assert [bool(np.isfinite(fit.ebv)) for fit in fits] == [True, False, True]
    assert fits[1].flags == ("fit failed: LinAlgError no",)


def test_spectra_that_need_the_exact_path(spectra, make_galaxy):
    rows = _rows(spectra)
    sigma = np.ones(rows[0].flux.shape)
    assert reason_not_bulk(rows[0]) == ""
    assert "uncertainty" in reason_not_bulk(replace(rows[0], sigma=sigma))
    assert "line-spread" in reason_not_bulk(replace(rows[0], lsf=None))
    coarse = to_arrays(from_arrays(WAVELENGTH[::4], rows[0].flux[0, ::4], lsf=5.0))
    assert "wider than 69 km/s" in reason_not_bulk(coarse)
    assert "fewer than" in reason_not_bulk(to_arrays(from_arrays([1.0, 2, 3], [1, 2, 3], lsf=1)))
    observed = make_galaxy(0.06, signal_to_noise=30)
    table = measure_properties([observed, spectra[1]], n_processes=1)
    assert table.meta["method"] == "bulk for 1 spectra, ppxf for 1"
    with pytest.raises(InputError, match="method: expected 'auto' or 'ppxf' for spectrum 1, got"):
        measure_properties([spectra[0], observed], method="bulk")
    with pytest.raises(InputError, match="method: expected one of auto, bulk, ppxf, got 'fast'"):
        measure_properties(spectra[0], method="fast")
    with pytest.raises(InputError, match="n_bootstrap: expected 0 with method='bulk'"):
        measure_properties(spectra[0], method="bulk", n_bootstrap=5)
    unreadable = measure_properties([spectra[0], "not a spectrum"], method="bulk")
    assert "unreadable" in unreadable["flags"][1]


@pytest.mark.parametrize(("width", "strength"), [(1500, 100), (2500, 3000)])
def test_broad_lines_are_left_to_the_exact_path(make_galaxy, width, strength):
    """The fainter one has three sigma within a per cent, to either side on either path."""
    narrow = make_galaxy(0.08, lines=4.0, dispersion=120.0, wavelength=WAVELENGTH)
    flux = narrow.flux.value.copy()
    for name, ratio in (("halpha", 1.0), ("hbeta", 0.3), ("hgamma", 0.13)):
        centre = LINES[name].wavelength * 1.08
        sigma = centre * width / SPEED_OF_LIGHT
        profile = np.exp(-0.5 * ((WAVELENGTH - centre) / sigma) ** 2)
        flux += strength * ratio * profile / sigma / np.sqrt(2 * np.pi)
    spectra = from_arrays(WAVELENGTH, np.array([flux, narrow.flux.value]), lsf=2.3)
    bulk, exact = (
        measure_properties(spectra, redshift=0.08, method=method) for method in ("bulk", "ppxf")
    )
    assert list(bulk["broad_line"]) == list(exact["broad_line"])
    assert not bulk["broad_line"][1]
    assert bulk["flags"][0] == exact["flags"][0]
    for name in ("halpha_broad_flux", "broad_width", "halpha_flux", "nii_6584_flux", "ebv"):
        np.testing.assert_array_equal(_values(bulk, name)[0], _values(exact, name)[0])
    assert np.isnan(_values(bulk, "halpha_broad_flux")[1])


def test_lines_out_of_view_are_no_broad_lines(make_galaxy):
    """H alpha lies beyond the spectrum with all of its neighbourhood: nothing is divided by 0."""
    galaxy = make_galaxy(0.38, age=4e9, lines=1, dispersion=180, wavelength=WAVELENGTH)
    spectra = from_arrays(WAVELENGTH, galaxy.flux.value[None], lsf=2.3)
    table = measure_properties(spectra, method="bulk")
    assert abs(table["redshift"][0] - 0.38) < 1e-3
    assert np.ma.is_masked(table["halpha_flux"][0])


def _two_peaks(stars, apart):
    """Stars and lines with two peaks, `apart` km/s to either side."""
    flux = stars.copy()
    for name, strength in (("hbeta", 40.0), ("oiii_4959", 20.0), ("oiii_5007", 60.0),
                           ("halpha", 140.0), ("nii_6548", 16.0), ("nii_6584", 48.0)):  # fmt: skip
        for side in (-1, 1):
            centre = LINES[name].wavelength * 1.08 * np.exp(side * apart / SPEED_OF_LIGHT)
            sigma = np.hypot(centre * 80.0 / SPEED_OF_LIGHT, 2.3)
            profile = np.exp(-0.5 * ((WAVELENGTH - centre) / sigma) ** 2)
            flux += 0.5 * strength * profile / sigma / np.sqrt(2 * np.pi)
    return flux


def test_two_velocity_components_are_left_to_the_exact_path(make_galaxy):
    """What one Gaussian cannot be is of the exact path; below, both paths say the same."""
    stars = make_galaxy(0.08, lines=0.0, dispersion=120.0, wavelength=WAVELENGTH).flux.value
    apart = (120, 180, 220, 350)
    flux = [*(_two_peaks(stars, one) for one in apart), stars]
    spectra = from_arrays(WAVELENGTH, np.array(flux), lsf=2.3)
    bulk, exact = (
        measure_properties(spectra, redshift=0.08, method=method) for method in ("bulk", "ppxf")
    )
    assert bulk.meta["method"] == "bulk"
    assert list(bulk["flags"]) == list(exact["flags"])
    assert list(bulk["bpt_class"]) == list(exact["bpt_class"])
    two = ["two velocity components" in flags for flags in exact["flags"]]
    assert two == [False, False, True, True, False]
    for name in ("halpha_flux", "nii_6584_flux", "oiii_5007_ew", "log_nii_ha", "ebv", "dn4000"):
        ours, theirs = _values(bulk, name), _values(exact, name)
        error, other = _values(bulk, f"{name}_error"), _values(exact, f"{name}_error")
        np.testing.assert_allclose(ours[two], theirs[two], rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(error[two], other[two], rtol=1e-9, err_msg=name)
        one = [0, 1]
        assert np.all(np.abs(ours - theirs)[one] < 0.15 * np.maximum(other[one], 1e-3)), name
        # Here errors are mostly what one Gaussian misses.
        if name not in ("ebv", "dn4000"):
            np.testing.assert_allclose(error[one], other[one], rtol=0.1, err_msg=name)


def test_masked_samples_and_extinction(spectra):
    """As on the exact path: a masked line is not measured, foreground dust is taken off."""
    row = _rows(spectra)[1]
    mask = np.zeros(row.flux.shape, bool)
    at = np.searchsorted(WAVELENGTH, 6564.6 * (1 + REDSHIFTS[1]))
    mask[0, at - 12 : at + 12] = True
    masked = replace(row, mask=mask, flux=np.where(mask, np.nan, row.flux))
    tables = [
        measure_properties(masked, method=method, galactic_ebv=0.05) for method in ("bulk", "ppxf")
    ]
    assert tables[0]["flags"][0] == tables[1]["flags"][0]
    assert tables[0]["halpha_flux"].mask[0]
    for name in ("lick_mgb", "dn4000", "velocity_dispersion", "ebv", "hbeta_flux"):
        value, judge = (_values(table, name)[0] for table in tables)
        assert value == pytest.approx(judge, abs=0.5 * _values(tables[1], f"{name}_error")[0])


def test_candidates_in_bulk(spectra):
    table = measure_candidates(spectra[:4], 1, method="bulk")
    assert len(table) == 1
    assert table.meta["method"] == "bulk"
    assert table["n_candidates"][0] == 4


def test_processes_give_the_same_numbers(spectra, bulk, monkeypatch):
    monkeypatch.setattr("photospec.analysis.properties.CHUNK_BULK", 3)
    table = measure_properties(spectra, method="bulk", n_processes=2)
    for name in COLUMNS:
        np.testing.assert_array_equal(_values(table, name), _values(bulk, name), err_msg=name)


def test_broadened_templates_are_those_of_a_convolution(library):
    pixels = np.arange(0, library.wavelength.size, 7)
    kappa = np.linspace(60, 400, pixels.size)
    found = library.broadened(kappa[None] ** 2, pixels, np.ones((1, pixels.size)))[0]
    matrix = resampling_matrix(
        np.log(library.wavelength), np.log(library.wavelength[1] / library.wavelength[0]),
        np.interp(np.arange(library.wavelength.size), pixels, kappa) / SPEED_OF_LIGHT,
        library.templates.wavelength,
    )  # fmt: skip
    convolved = (matrix @ library.templates.basis)[pixels]
    difference = (found - convolved) @ library.coefficients
    assert np.sqrt(np.mean(difference**2, axis=0)).max() < 5e-5  # of the V-band flux
    wider, narrower = (
        library.broadened(kappa[None] ** 2 + d, pixels, np.ones((1, pixels.size))).astype(float)
        for d in (100.0, -100.0)
    )
    slope = library.broadened(kappa[None] ** 2, pixels, np.ones((1, pixels.size)), True)
    expected = (wider - narrower)[0] / 200 @ library.coefficients
    np.testing.assert_allclose(
        slope[0] @ library.coefficients, expected, atol=0.02 * np.abs(expected).max()
    )


def test_frames_are_those_of_the_exact_path(spectra, library):
    """The same spectrum, though on other pixels: less than the templates are interpolated by."""
    rows = _rows(spectra)[:2]
    redshift = np.array(REDSHIFTS[:2])
    frames = ObservedSpectra.of(rows).at(np.arange(2), redshift, library)
    for i, row in enumerate(rows):
        judge = to_log_spectrum(row, redshift[i])
        good = ~frames.mask[i]
        assert good.sum() > 2800
        flux = frames.flux[i] * frames.scale[i]
        inside = np.interp(library.wavelength, judge.wavelength,
                           judge.flux * judge.scale)  # fmt: skip
        assert np.median(np.abs(flux / inside - 1)[good]) < 1e-3
        lsf = np.interp(library.wavelength, judge.wavelength, judge.lsf_sigma)
        np.testing.assert_allclose(frames.lsf_sigma[i][good], lsf[good], rtol=1e-6)


def test_every_second_pixel_is_as_good_as_all(spectra, library):
    rows = _rows(spectra)[:3]
    sources = ObservedSpectra.of(rows)
    frames = sources.at(np.arange(3), np.array(REDSHIFTS[:3]), library)
    one, two = (fit_kinematics(sources, frames, step) for step in (1, 2))
    np.testing.assert_allclose(one.free[:, 1], two.free[:, 1], rtol=0.02)
    np.testing.assert_allclose(one.redshift, two.redshift, atol=1e-5)
    np.testing.assert_allclose(one.error[:, :2], two.error[:, :2], rtol=0.35)


def test_lines_are_those_of_the_exact_path(spectra, library):
    frames = ObservedSpectra.of(_rows(spectra)[:2]).at(
        np.arange(2), np.array(REDSHIFTS[:2]), library
    )
    velocity, dispersion = np.array([30.0, -80.0]), np.array([90.0, 200.0])
    columns = Lines(frames, velocity, dispersion).columns()
    for i in range(2):
        judge = group_profiles(
            library.wavelength, frames.lsf_sigma[i], velocity[[i, i]], dispersion[[i, i]]
        )
        np.testing.assert_allclose(columns[i], judge, atol=1e-4 * judge.max())


def test_derivatives_of_lines_are_differences(spectra, library):
    frames = ObservedSpectra.of(_rows(spectra)[:2]).at(
        np.arange(2), np.array(REDSHIFTS[:2]), library
    )
    velocity, dispersion = np.array([30.0, -80.0]), np.array([90.0, 200.0])
    flux = np.random.default_rng(0).uniform(0, 2, (2, len(GROUPS)))
    slopes = Lines(frames, velocity, dispersion, derivatives=True).slopes(flux)
    for slope, (dv, ds) in zip(slopes, ((1, 0), (0, 1)), strict=True):
        low, high = (
            Lines(frames, velocity + k * dv, dispersion + k * ds).columns() @ flux[..., None]
            for k in (-1, 1)
        )
        expected = (high - low)[..., 0] / 2
        # The line-spread function under a moved line changes too: a per cent of the slope.
        np.testing.assert_allclose(slope, expected, atol=0.02 * np.abs(expected).max())


def test_gauss_newton_finds_the_minimum_of_the_other_minimiser(spectra):
    fits = fit_populations_bulk(_rows(spectra)[:2], np.array(REDSHIFTS[:2]))
    for fit in fits:
        quick, slow = (
            measure_lines(fit, nonlinear=minimiser) for minimiser in (gauss_newton, minimise)
        )
        assert quick.reason == slow.reason
        strong = slow.detected
        assert strong.sum() >= 5
        np.testing.assert_allclose(
            quick.flux[strong], slow.flux[strong], atol=0.3 * slow.flux_error[strong].max()
        )


def test_attenuation_between_knots_follows_the_curve(library):
    knots = np.arange(0, library.wavelength.size + INTERVAL, INTERVAL)
    at = 10 ** (-0.4 * 0.3 * library.attenuation_at(knots))
    linear = np.interp(np.arange(library.wavelength.size), knots, at)
    assert np.abs(linear / 10 ** (-0.4 * 0.3 * library.attenuation) - 1).max() < 6e-3


def _problems(n_lines, scale=1.0):
    """Alike columns, as templates are, for two spectra that know no dust."""
    rng = np.random.default_rng(3)
    rows = np.linalg.qr(rng.standard_normal((40, 20 + n_lines)))[0]
    rows *= scale * np.geomspace(1, 1e-3, 20 + n_lines)
    coefficients = rng.standard_normal((20, 8)) @ rng.uniform(0, 1, (8, 60))
    coefficients += 0.05 * rng.standard_normal((20, 60))
    matrix = np.hstack([rows[:, :20] @ coefficients, 500 * rows[:, 20:]])
    data = matrix[:, ::9].sum(1) + 0.1 * rng.standard_normal((2, 40))
    columns = [np.column_stack([rows[:, :20], 500 * rows[:, 20:], one]) for one in data]
    grams = np.array([one.T @ one for one in columns])
    dusty = DustyFits(
        products=[np.array([*np.zeros((2, 400)), one[:20, :20].ravel()]) for one in grams],
        crossed=[np.array([one[:20, 20:].ravel(), 0 * one[:20, 20:].ravel()]) for one in grams],
        other=grams[:, 20:, 20:],
        curve=np.zeros(2),
        coefficients=coefficients,
        n_young=[60, 45],
        start=np.arange(0, 60, 2)[None].repeat(2, axis=0),
    )
    return dusty, matrix, data


@pytest.mark.parametrize("in_play", [12, 28])
@pytest.mark.parametrize("n_lines", [3, 9])
def test_weights_are_those_of_scipy_with_all_templates(in_play, n_lines, monkeypatch):
    """The conditions of Karush, Kuhn and Tucker hold, whichever templates were looked at first."""
    monkeypatch.setattr("photospec.analysis.bulk.dusty.IN_PLAY", in_play)
    dusty, matrix, data = _problems(n_lines)
    dusty.search()
    for row, n_young in enumerate((60, 45)):
        allowed = np.r_[:n_young, 60 : 60 + n_lines]
        judge, norm = nnls(matrix[:, allowed], data[row])
        weights = dusty.weights[row]
        assert dusty.chi2[row] == pytest.approx(norm**2, rel=1e-7)
        assert set(np.flatnonzero(weights)) <= set(allowed)
        np.testing.assert_allclose(matrix @ weights, matrix[:, allowed] @ judge, atol=1e-5)
        assert weights.min() == 0
        gradient = ((data[row] - matrix @ weights) @ matrix)[allowed]
        assert np.all(gradient < 1e-5)
        assert np.all(np.abs(gradient[weights[allowed] > 0]) < 1e-5)


def test_lines_that_noise_makes_negative_are_limited():
    """Noise far beyond what makes a line sure: it is solved for with all limits."""
    dusty, matrix, _ = _problems(9, scale=300.0)
    dusty.search()
    assert dusty.n_sure.min() > 0
    rows, ebv = np.arange(2), np.zeros((2, 1))
    grams = dusty.grams(rows, ebv)[:, 0]
    noise = np.zeros((2, 1, 29))
    noise[:, 0, 20 + dusty.order[0, 0]] = -2 * grams[:, 20 + dusty.order[0, 0], -1]
    weights, *_ = dusty._solve(rows, grams, noise)
    assert weights.min() == 0
    assert np.all(weights[:, 0, 60 + dusty.order[0, 0]] == 0)
    assert matrix.shape[1] == weights.shape[2]
    whole = dusty._solve_whole(0, grams[0], grams[0, :-1, -1] + noise[0])
    np.testing.assert_allclose(weights[0] @ matrix.T, whole[0] @ matrix.T, atol=1e-3)


def test_products_that_rounding_made_singular_are_solved_for_alone():
    """The others are what they are without them, bit for bit."""
    rng = np.random.default_rng(2)
    matrices = np.array([np.corrcoef(rng.standard_normal((12, 40))) for _ in range(3)])
    alike = np.ones((12, 12)) + 1e-8 * np.random.default_rng(0).standard_normal((12, 12))
    alike = 0.5 * (alike + alike.T)
    np.fill_diagonal(alike, 1.0)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(alike)
    found = lower_triangles(np.array([*matrices, alike]))
    assert found[:3].tobytes() == lower_triangles(matrices).tobytes()
    np.testing.assert_allclose(found[3] @ found[3].T, alike, atol=2e-6)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        lower_triangles(-matrices)


def test_lines_fitted_together_are_those_fitted_one_by_one(spectra):
    fits = fit_populations_bulk(_rows(spectra)[:4], np.array(REDSHIFTS[:4]))
    together = measure_lines_bulk(fits)
    assert sum(one is not None for one in together) >= 2
    for fit, one in zip(fits, together, strict=True):
        if one is None:  # perhaps broad: left to the other
            continue
        judge = measure_lines(fit, nonlinear=gauss_newton)
        assert one.names == judge.names
        assert one.reason == judge.reason
        assert one.flags == judge.flags
        seen = ~judge.mask
        assert np.all(np.abs(one.flux - judge.flux)[seen] < 0.1 * judge.flux_error[seen])
        np.testing.assert_allclose(one.flux_error, judge.flux_error, rtol=0.05)
        np.testing.assert_allclose(one.continuum, judge.continuum, rtol=1e-9)
        known = np.isfinite(judge.ew)
        assert np.all(np.abs(one.ew - judge.ew)[known] < 0.1 * judge.ew_error[known])
        assert np.median(np.abs(one.ew_error / judge.ew_error - 1)[known]) < 0.05
        np.testing.assert_array_equal(np.isfinite(one.width), np.isfinite(judge.width))
        np.testing.assert_allclose(one.width, judge.width, atol=5.0)


def test_redshifts_near_minima_are_those_of_the_whole_scan(spectra):
    arrays = to_arrays(spectra)
    mask = np.zeros(arrays.flux.shape, bool)
    mask[2, 1500:1600] = True  # a gap: scanned in full
    arrays = replace(arrays, mask=mask)
    fit, judge = measure_redshift_bulk(arrays, (0.0, 0.8)), measure_redshift(arrays)
    np.testing.assert_allclose(fit.redshift, REDSHIFTS, atol=3e-4)
    np.testing.assert_array_equal(fit.redshift, judge.redshift)
    np.testing.assert_array_equal(fit.warning, judge.warning)
    np.testing.assert_allclose(fit.solutions.spread(), judge.solutions.spread(), rtol=0.05)


def test_indices_are_those_of_the_exact_path(spectra):
    arrays = to_arrays(spectra)
    rng = np.random.default_rng(1)
    mask = np.zeros(arrays.flux.shape, bool)
    mask[3, 500:540] = True  # more than an index forgives
    mask[4, 1500:1502] = True
    flux = arrays.flux.copy()
    flux[5, WAVELENGTH < 6000] *= -0.2  # 3950 Angstrom at rest is at 5135
    arrays = replace(arrays, flux=flux, mask=mask, sigma=rng.uniform(0.1, 1, flux.shape))
    redshift = np.array([0.0, 0.08, 0.5, 0.06, 0.11, 0.3])
    definitions = list(INDEX_COLUMNS.values())
    value, error, reason = indices_of_block(arrays, redshift, definitions)
    assert {"", "outside the spectrum", "bad pixels", "mean flux not positive"} <= set(
        reason.ravel()
    )
    for i in range(len(redshift)):
        judge = indices_of_row(take(arrays, slice(i, i + 1)), redshift[i], definitions)
        np.testing.assert_allclose(value[i], judge[0], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(error[i], judge[1], rtol=1e-8)
        assert list(reason[i]) == list(judge[2])


def test_copies_of_a_template_set_share_one_library(library):
    copy = replace(library.templates, basis=library.templates.basis.copy())
    assert library_of(copy) is library


def test_pixels_of_a_logarithmic_grid_add_no_error(library):
    """As on the exact path, which does not resample them."""
    wavelength = 3900 * np.exp(SDSS_STEP * np.arange(3600))
    flux = np.interp(wavelength / 1.05, library.wavelength, np.ones(library.wavelength.size))
    for grid, expected in ((wavelength, 0.0), (np.arange(3900.0, 8900.0), 14.0)):
        row = to_arrays(from_arrays(grid, np.interp(grid, wavelength, flux), lsf=2.3))
        frames = ObservedSpectra.of([row]).at(np.arange(1), np.array([0.05]), library)
        assert frames.pixel_box == pytest.approx(expected, rel=0.05)
        assert frames.pixel_box == to_log_spectrum(row, 0.05).pixel_box


def test_lines_have_kinematics_of_their_own_from_the_limit_of_the_exact_path():
    """Chi2 beyond 25 and one for each line that is seen, one line beyond 16."""
    pixels = SimpleNamespace(balmer=np.array([False, False, True, True]))
    normal = np.tile(np.eye(4), (3, 1, 1))
    flux = np.array([[5.0, 1.0, 5.0, 2.0], [5.0, 1.5, 5.0, 0.0], [4.0, 3.9, 3.9, 3.8]])
    solution = SimpleNamespace(flux=flux, normal=normal)
    expected = [[False, True], [True, False], [False, False]]
    assert _strong(solution, pixels, np.ones(3)).tolist() == expected
    solution = SimpleNamespace(flux=2 * flux, normal=normal)
    assert _strong(solution, pixels, np.full(3, 2.0)).tolist() == expected
    for one, own in zip(flux, expected, strict=True):
        assert exact_strong(one, np.eye(4), pixels.balmer, 1.0).tolist() == own
