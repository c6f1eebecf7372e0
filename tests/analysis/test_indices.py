import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from photospec.analysis import measure_indices
from photospec.analysis.indices.bands import index_value, vacuum_bands
from photospec.analysis.indices.corrections import LICK_FWHM, LICK_WAVELENGTH
from photospec.analysis.indices.definitions import EXTRA, INDICES, LICK, Index
from photospec.errors import InputError
from photospec.spectrum import (
    air_to_vacuum,
    from_arrays,
    read_spectrum,
    smooth,
    to_arrays,
    vacuum_to_air,
)
from photospec.spectrum.wavelengths import pixel_edges

GRID = np.arange(3600.0, 9300.0, 0.37)


def _step(band, depth, slope=0.0, wavelength=GRID, redshift=0.0):
    """Linear continuum, lowered by `depth` inside `band` (air), integrated over each pixel."""
    low, high = air_to_vacuum(band) * (1 + redshift)
    edges = pixel_edges(wavelength)
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
    flux = 1 + slope * (wavelength - 6000)
    return flux * (1 - depth * inside / np.diff(edges))


@pytest.mark.parametrize("name", LICK + EXTRA)
@pytest.mark.parametrize("redshift", [0.0, 0.0317])
def test_step_inside_the_band_is_exact(name, redshift):
    index = INDICES[name]
    # Only the band itself: side bands that overlap it (several do) must stay untouched.
    low = max(index.band[0], index.blue[1]) + 0.8
    high = min(index.band[1], index.red[0]) - 0.8
    flux = _step((low, high), 0.25, redshift=redshift)
    fit = measure_indices(from_arrays(GRID, flux), redshift=redshift, indices=[name])
    width = np.subtract(*air_to_vacuum([high, low]))
    full = np.subtract(*vacuum_bands(index)[1][::-1])
    exact = 0.25 * width if index.kind == "angstrom" else -2.5 * np.log10(1 - 0.25 * width / full)
    assert fit[name][0] == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("name", LICK + EXTRA)
def test_linear_spectrum_has_no_index(name):
    fit = measure_indices(from_arrays(GRID, 1 + 2e-4 * (GRID - 3600)), redshift=0, indices=[name])
    assert fit[name][0] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "equivalent_width"), [("mgb", 3.0), ("nad", 5.0), ("hbeta", -4.0)]
)
def test_narrow_line_on_a_slope_gives_its_equivalent_width(name, equivalent_width):
    centre = np.mean(vacuum_bands(INDICES[name])[1]) * 1.05
    line = np.exp(-0.5 * ((GRID - centre) / 1.5) ** 2) / (1.5 * np.sqrt(2 * np.pi))
    flux = (1 + 3e-4 * (GRID - 5000)) * (1 - equivalent_width * 1.05 * line)
    fit = measure_indices(from_arrays(GRID, 7 * flux), redshift=0.05, indices=[name])
    assert fit[name][0] == pytest.approx(equivalent_width, rel=2e-4)


def test_breaks_are_ratios_of_mean_f_nu():
    flux = np.where(air_to_vacuum([3975.0])[0] > GRID, 2.0, 3.0) / GRID**2  # steps in F_nu
    fit = measure_indices(from_arrays(GRID, flux), redshift=0, indices=["dn4000", "d4000"])
    np.testing.assert_allclose(fit["dn4000"], 1.5, rtol=1e-6)
    assert fit["d4000"][0] == pytest.approx(1.5, rel=1e-6)


@pytest.mark.parametrize("name", ["hbeta", "mg2", "fe4383", "dn4000", "ca4227"])
def test_gradient_is_the_derivative(name):
    rng = np.random.default_rng(0)
    wavelength = np.arange(3700.0, 5500.0, 1.1)
    flux, edges = rng.uniform(1, 1.3, wavelength.size), pixel_edges(wavelength)
    bad = np.zeros(wavelength.size, bool)
    value, gradient, _ = index_value(edges, flux, bad, INDICES[name])
    for pixel in rng.choice(np.flatnonzero(gradient), 12):
        moved = flux.copy()
        moved[pixel] += 1e-6
        change = index_value(edges, moved, bad, INDICES[name])[0] - value
        assert change / 1e-6 == pytest.approx(gradient[pixel], rel=1e-3, abs=1e-7)


def test_errors_match_the_scatter(make_galaxy):
    names = ("hbeta", "mgb", "mg2", "dn4000", "hdelta_a", "fe5270")
    clean = make_galaxy(0.03, lines=0).flux.value
    rng, wavelength = np.random.default_rng(2), np.arange(3800.0, 9200.0)
    sigma = np.full((300, clean.size), 0.5)
    noisy = from_arrays(
        wavelength, clean + rng.normal(size=sigma.shape) * 0.5, sigma=sigma, lsf=1.0
    )
    for resolution in ("native", "lick"):
        fit = measure_indices(noisy, redshift=0.03, indices=names, resolution=resolution)
        np.testing.assert_allclose(fit.value.std(axis=0) / fit.error.mean(axis=0), 1, atol=0.12)


def test_lick_resolution(make_galaxy):
    spectrum = make_galaxy(0.03, lines=0, wavelength=np.arange(3800.0, 7000.0, 0.5))
    arrays = to_arrays(spectrum)
    target = np.interp(arrays.wavelength / 1.03, LICK_WAVELENGTH, LICK_FWHM) * 1.03 / 2.3548
    smoothed = smooth(arrays.flux[0], arrays.wavelength, np.sqrt(target**2 - 1))
    expected = measure_indices(from_arrays(arrays.wavelength, smoothed), redshift=0.03)
    fit = measure_indices(spectrum, redshift=0.03, resolution="lick")
    np.testing.assert_allclose(fit.value[:, :25], expected.value[:, :25], rtol=5e-3, atol=2e-3)
    native = measure_indices(spectrum, redshift=0.03)
    assert fit["fe4383"] < native["fe4383"]
    assert fit["dn4000"] == native["dn4000"]


def test_velocity_dispersion_correction(make_galaxy):
    def measure(dispersion, correct):
        spectrum = make_galaxy(
            0.03, lines=0, age=6e9, dispersion=dispersion, wavelength=np.arange(3800.0, 7000.0, 0.7)
        )
        return measure_indices(
            spectrum, redshift=0.03, velocity_dispersion=dispersion if correct else None
        ).value[0, :25]

    truth, raw, corrected = measure(5, False), measure(250, False), measure(250, True)
    assert np.mean(np.abs(corrected - truth)) < 0.25 * np.mean(np.abs(raw - truth))


def test_new_index_is_one_line(make_galaxy):
    mine = Index("sum", (5000.0, 5010.0), (5020.0, 5030.0), (5040.0, 5050.0), "angstrom")
    fit = measure_indices(make_galaxy(0.02), redshift=0.02, indices=["mgb", mine])
    assert fit.names == ("mgb", "sum")
    assert np.isfinite(fit["sum"]).all()


@pytest.mark.parametrize(
    "bands",
    [((2, 1), (3, 4), (5, 6), "mag"), ((1, 2), None, (5, 6), "mag"), ((1, 2), (3, 4), (5, 6), "x")],
)
def test_bad_definition(bands):
    with pytest.raises(InputError, match="for index 'mine'"):
        Index("mine", *bands)


def test_reasons(make_galaxy):
    wavelength = np.arange(4900.0, 5400.0)
    spectrum = make_galaxy(0.0, wavelength=wavelength, signal_to_noise=30)
    mask = (wavelength > 5160) & (wavelength < 5180)
    spectrum = from_arrays(wavelength, spectrum.flux.value, mask=mask)
    fit = measure_indices(spectrum, redshift=0.0)
    reason = dict(zip(fit.names, fit.reason[0], strict=True))
    assert reason["hbeta"] == "outside the spectrum"
    assert reason["mgb"] == "bad pixels"
    assert reason["fe5270"] == ""
    assert np.isnan(fit.error).all()  # no uncertainty, no errors
    table = fit.to_table()
    assert table["mgb"].mask[0]
    assert not table["fe5270"].mask[0]
    assert table["fe5270"].unit == u.AA
    assert "mgb: bad pixels" in table["flags"][0]


@pytest.mark.parametrize(
    ("flux", "reason"),
    [(np.full(GRID.size, 2.0), "constant flux"), (-1 - GRID / 1e5, "not positive")],
)
def test_unusable(flux, reason):
    fit = measure_indices(from_arrays(GRID, flux), redshift=0.1)
    assert np.isnan(fit.value).all()
    assert reason in fit.reason[0, 0]


def test_bad_arguments(make_galaxy):
    spectrum = make_galaxy(0.1)
    with pytest.raises(InputError, match="indices: expected names among"):
        measure_indices(spectrum, redshift=0.1, indices=["halpha_z"])
    with pytest.raises(InputError, match="resolution: expected 'native' or 'lick'"):
        measure_indices(spectrum, redshift=0.1, resolution="low")
    with pytest.raises(InputError, match="redshift: expected one number or 1 numbers"):
        measure_indices(spectrum, redshift=[0.1, 0.2])


def _pyphot_definitions():
    licks = pytest.importorskip("pyphot.licks")
    from importlib.resources import files

    text = (files("pyphot") / "libs" / "licks.dat").read_text()
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    found = {row[8].lower().replace("_", ""): row for row in rows}
    return licks.LickIndex, {
        name: (
            [float(x) for x in found[name.replace("_", "")][1:7]],
            found[name.replace("_", "")][7],
        )
        for name in LICK
    }


def test_definitions_agree_with_pyphot():
    _, definitions = _pyphot_definitions()
    for name, (limits, unit) in definitions.items():
        index = INDICES[name]
        assert [*index.band, *index.blue, *index.red] == pytest.approx(limits, abs=1e-3), name
        assert (index.kind == "mag") == (unit == "1"), name


def test_within_one_percent_of_pyphot_on_observed_spectra(shared):
    lick_index, definitions = _pyphot_definitions()
    compared, close = 0, 0
    for path in sorted((shared / "real" / "spectra").glob("spec-026*.fits"))[::2]:
        with fits.open(path) as hdus:
            redshift = float(hdus[2].data["Z"][0])
        spectrum = read_spectrum(path)
        fit = measure_indices(spectrum, redshift=redshift)
        arrays = to_arrays(spectrum)
        good = ~arrays.mask[0]
        flux = np.interp(arrays.wavelength, arrays.wavelength[good], arrays.flux[0][good])
        # pyphot takes whole samples only: give it each pixel as many fine ones.
        edges = pixel_edges(arrays.wavelength)
        fine = np.arange(edges[0] + 0.0025, edges[-1], 0.005)
        flux = flux[np.searchsorted(edges, fine) - 1]
        rest = vacuum_to_air(fine / (1 + redshift))
        for name, (limits, unit) in definitions.items():
            if fit.reason[0, fit.names.index(name)]:
                continue
            band, blue, red = limits[:2], limits[2:4], limits[4:]
            near = (rest > blue[0] - 5) & (rest < red[1] + 5)
            x, y = rest[near], flux[near].copy()
            # pyphot fits a line to all samples of the side bands instead of joining their
            # means; where they hold that very line both pseudo-continua are the same.
            means = [y[(x > low) & (x < high)].mean() for low, high in (blue, red)]
            line = np.polyfit([np.mean(blue), np.mean(red)], means, 1)
            overlap = (x > band[0]) & (x < band[1])
            side = ((x > blue[0]) & (x < blue[1])) | ((x > red[0]) & (x < red[1]))
            kind = "mag" if unit == "1" else "ew"
            other = float(lick_index._get_indice(x, y, blue, red, band, kind))
            if not np.any(overlap & side):
                y[side] = np.polyval(line, x[side])
                straight = float(lick_index._get_indice(x, y, blue, red, band, kind))
                scale = max(abs(straight), 0.03 * (1.0 if unit == "1" else band[1] - band[0]))
                assert abs(fit[name][0] - straight) < 0.01 * scale, (path.name, name)
            width = 1.086 if unit == "1" else band[1] - band[0]
            assert abs(fit[name][0] - other) < 0.01 * width, (path.name, name)
            compared, close = compared + 1, close + (abs(fit[name][0] / other - 1) < 0.01)
    assert compared > 100
    assert close > 0.5 * compared
