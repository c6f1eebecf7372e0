"""Emission lines: exact on made-up lines, honest errors, and the values of SDSS."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from scipy.special import erf

from photospec.analysis import fit_populations, measure_lines
from photospec.analysis.bpt import BPTClass, classify_bpt
from photospec.errors import InputError
from photospec.lines import LINES
from photospec.spectrum import from_arrays, read_spectrum

LIGHT = 299792.458
FLUXES = {
    "halpha": 300.0, "hbeta": 90.0, "nii_6584": 120.0, "nii_6548": 120.0 * 0.328,
    "oiii_5007": 60.0, "oiii_4959": 60.0 * 0.335, "sii_6716": 50.0, "sii_6731": 40.0,
    "oii_3726": 70.0, "oii_3729": 90.0, "oi_6300": 10.0, "oi_6364": 3.20,
}  # fmt: skip


@pytest.fixture(scope="module")
def template_fit(make_galaxy):
    """A PopulationFit to hang made-up spectra on."""
    return fit_populations(make_galaxy(0.08, signal_to_noise=40.0), 0.08)


def _with_lines(
    fit, *, continuum=20.0, sigma=0.3, noise=None, width=110.0, velocity=30.0, fluxes=FLUXES,
    balmer_width=None,
):  # fmt: skip
    """The fit with a flat stellar continuum and lines of known flux on it."""
    wave = fit.wavelength
    edges = np.append(wave, wave[-1] ** 2 / wave[-2]) * np.sqrt(wave[0] / wave[1])
    flux = np.full(wave.size, continuum)
    lsf = 1.4
    for name, strength in fluxes.items():
        own = balmer_width if balmer_width and LINES[name].kind == "balmer" else width
        centre = LINES[name].wavelength * (1 + fit.redshift) * np.exp(velocity / LIGHT)
        spread = np.hypot(lsf, centre * own / LIGHT)
        cumulative = 0.5 * erf((edges - centre) / (np.sqrt(2) * spread))
        flux = flux + strength * np.diff(cumulative) / np.diff(edges)
    errors = np.full(wave.size, sigma)
    if noise is not None:
        flux = flux + errors * np.random.default_rng(noise).standard_normal(wave.size)
    return replace(
        fit, flux=flux, sigma=errors, continuum=np.full(wave.size, continuum),
        mask=np.zeros(wave.size, bool), lsf_sigma=np.full(wave.size, lsf), gas={},
    )  # fmt: skip


def test_exact_on_noiseless_lines(template_fit):
    lines = measure_lines(_with_lines(template_fit))
    for name, want in FLUXES.items():
        assert lines[name][0] == pytest.approx(want, rel=0.01, abs=0.1), name
        index = lines.index(name)
        ew = want / 20.0 / (1 + template_fit.redshift)
        assert lines.ew[index] == pytest.approx(ew, rel=0.01, abs=0.01), name
    assert lines.width[lines.index("halpha")] == pytest.approx(110, abs=1.5)
    assert lines.width[lines.index("nii_6584")] == pytest.approx(110, abs=1.5)
    assert lines.velocity[lines.index("halpha")] == pytest.approx(30, abs=1)
    assert lines.log_ratio("nii_6584", "halpha")[0] == pytest.approx(np.log10(0.4), abs=0.005)
    ratio = lines.log_ratio(("sii_6716", "sii_6731"), "halpha")[0]
    assert ratio == pytest.approx(np.log10(0.3), abs=0.005)


def test_errors_hold_what_noise_does_not_know(template_fit):
    """Line shapes, the stars below, and the ratio of a doublet, however good the spectrum."""
    lines = measure_lines(_with_lines(template_fit, sigma=1e-4))
    strong, weak = lines["oiii_5007"], lines["oiii_4959"]
    stars = 20.0 * (1 + template_fit.redshift)
    assert strong[1] == pytest.approx(np.hypot(0.02 * 60, 0.02 * stars), rel=0.05)
    assert weak[1] == pytest.approx(np.hypot(0.335 * strong[1], 0.01 * weak[0]), rel=1e-3)
    assert lines["hbeta"][1] == pytest.approx(np.hypot(0.005 * 90, 0.065 * stars), rel=0.05)


def test_balmer_lines_may_have_their_own_width(template_fit):
    lines = measure_lines(_with_lines(template_fit, width=90.0, balmer_width=200.0))
    assert lines.width[lines.index("oiii_5007")] == pytest.approx(90, abs=3)
    assert lines.width[lines.index("halpha")] == pytest.approx(200, abs=3)
    assert lines["halpha"][0] == pytest.approx(300, rel=0.01)
    assert lines["nii_6584"][0] == pytest.approx(120, rel=0.02)


def test_errors_cover_the_truth(template_fit):
    """Pulls of many draws: mean zero and width one, blended lines included."""
    names = ("halpha", "nii_6584", "sii_6731", "oii_3726", "hbeta", "oi_6300")
    pulls = []
    for seed in range(24):
        lines = measure_lines(_with_lines(template_fit, sigma=1.5, noise=seed))
        pulls.append([(lines[n][0] - FLUXES[n]) / lines[n][1] for n in names])
    pulls = np.array(pulls)
    assert np.abs(pulls.mean(0)).max() < 0.8  # 4 standard errors
    assert 0.8 < pulls.std() < 1.15


def test_no_line_is_not_made_positive(template_fit):
    values = []
    for seed in range(20):
        fit = _with_lines(template_fit, fluxes={}, sigma=1.0, noise=seed)
        lines = measure_lines(fit)
        values.append(lines.flux / lines.flux_error)
        assert np.isnan(lines.width).all()
        assert lines.flags
    values = np.array(values)[:, ~lines.mask]
    assert abs(values.mean()) < 0.15
    assert 0.75 < values.std() < 1.15
    assert np.mean(values > 3) < 0.01
    limit = lines.upper_limit()
    assert np.all(limit[~lines.mask] >= 3 * lines.flux_error[~lines.mask])


def test_continuum_mismatch_widens_the_errors(template_fit):
    """Ripples of the width of a line, as of wrong templates, must show in the errors."""
    fit = _with_lines(template_fit)
    ripple = 0.6 * np.sin(np.arange(fit.wavelength.size) / 1.7)
    rough = measure_lines(replace(fit, flux=fit.flux + ripple))
    smooth = measure_lines(fit)
    assert rough["oi_6300"][1] > 1.3 * smooth["oi_6300"][1]


def test_lines_outside_or_on_bad_pixels_are_masked_with_a_reason(template_fit):
    fit = _with_lines(template_fit)
    rest = fit.wavelength / (1 + fit.redshift)
    mask = np.abs(rest - 5008.2) < 8
    mask |= rest < 4000
    lines = measure_lines(replace(fit, mask=mask))
    for name, reason in (
        ("oiii_5007", "bad pixels"),
        ("oii_3726", "outside"),
        ("neiii_3869", "outside"),
    ):
        i = lines.index(name)
        assert lines.mask[i]
        assert np.isnan(lines.ew[i])
        assert reason in lines.reason[i]
    assert lines["halpha"][0] == pytest.approx(300, rel=0.01)
    assert classify_bpt(lines).bpt_class is BPTClass.UNCLASSIFIED
    assert "halpha" in repr(lines)


@pytest.mark.parametrize("seed", range(4))
def test_lines_without_a_good_pixel_harm_nothing(template_fit, seed):
    """Their columns are zero, and the inverse of the normal equations is so to rounding."""
    fit = _with_lines(template_fit, noise=seed)
    rest = fit.wavelength / (1 + fit.redshift)
    gone = (
        "h_theta",
        "h_eta",
        "heii_4686",
        "hei_5876",
        "oi_6300",
        "oi_6364",
        "sii_6716",
        "sii_6731",
    )
    mask = np.any([np.abs(rest / LINES[name].wavelength - 1) < 0.0065 for name in gone], axis=0)
    lines = measure_lines(replace(fit, mask=mask))
    for name in gone:
        assert "bad pixels" in lines.reason[lines.index(name)]
    for name in ("hbeta", "oiii_5007", "oii_3729"):
        value, error = lines[name]
        assert abs(value - FLUXES[name]) < 4 * error
        assert error < 0.1 * value


@pytest.mark.parametrize(
    ("hidden", "half_width"), [("oii_3726", 0.6), ("halpha", 1.2), ("nii_6584", 1.2)]
)
def test_bad_pixels_at_a_line_do_not_harm_its_neighbours(template_fit, hidden, half_width):
    """What is seen of a line that is not measured is no part of the lines beside it."""
    fit = _with_lines(template_fit)
    rest = fit.wavelength / (1 + fit.redshift)
    mask = np.abs(rest - LINES[hidden].wavelength) < half_width
    whole, lines = measure_lines(fit), measure_lines(replace(fit, mask=mask))
    assert "bad pixels" in lines.reason[lines.index(hidden)]
    measured = [name for name in FLUXES if not lines.mask[lines.index(name)]]
    assert len(measured) >= 9
    for name in measured:
        i = lines.index(name)
        assert lines.flux[i] == pytest.approx(FLUXES[name], rel=2e-3), name
        assert lines.flux_error[i] < 1.1 * whole.flux_error[i], name


def test_a_failed_fit_gives_masked_lines():
    wave = np.arange(4000.0, 8500.0)
    spectrum = from_arrays(wave, np.ones(wave.size), sigma=np.ones(wave.size))
    lines = measure_lines(fit_populations(spectrum, 0.08))
    assert lines.mask.all()
    assert "constant flux" in lines.reason[0]
    assert np.isnan(lines.log_ratio("nii_6584", "halpha")[0])


def test_unknown_line_is_one_line(template_fit):
    with pytest.raises(InputError, match="line: expected one of"):
        measure_lines(_with_lines(template_fit))["lyalpha"]


def test_table(template_fit):
    lines = measure_lines(_with_lines(template_fit))
    table = lines.to_table()
    assert len(table) == len(lines.names)
    halpha = table["flux"][lines.index("halpha")].to_value("erg / (s cm2)")
    assert halpha == pytest.approx(300e-17, rel=0.01)
    assert lines.total("oii_3726", "oii_3729")[0] == pytest.approx(160, rel=0.01)
    separate = np.hypot(lines["oii_3726"][1], lines["oii_3729"][1])
    assert lines.total("oii_3726", "oii_3729")[1] < separate  # blended: anticorrelated


def test_whole_way_with_stars(make_galaxy):
    """Lines on Balmer absorption: the fit of the stars must not eat them."""
    spectrum = make_galaxy(0.06, signal_to_noise=60.0, lines=4.0)
    lines = measure_lines(fit_populations(spectrum, 0.06))
    for name, want in (("halpha", 124), ("hbeta", 40), ("oiii_5007", 42), ("nii_6584", 42)):
        flux, error = lines[name]
        assert abs(flux - want) < max(3.5 * error, 0.1 * want), (name, flux, error)


# Observed spectra: EW and classes as the SDSS pipeline has them (SPZLINE).
SPZLINE = {
    "halpha": "H_alpha",
    "hbeta": "H_beta",
    "nii_6584": "[N_II] 6583",
    "oiii_5007": "[O_III] 5007",
}


def _sdss(path):
    with fits.open(path) as hdus:
        z = float(hdus[2].data["Z"][0])
        rows = {str(row["LINENAME"]).strip(): row for row in hdus[3].data}
    return z, {name: rows[label] for name, label in SPZLINE.items()}


@pytest.mark.slow
def test_equivalent_widths_and_classes_of_sdss(shared):
    paths = sorted((shared / "real" / "spectra").glob("spec-*.fits"))
    wrong, compared, classes = [], 0, 0
    for path in paths:
        z, rows = _sdss(path)
        if z > 0.4:
            continue
        lines = measure_lines(fit_populations(read_spectrum(path), z))
        strong = {n: r["LINEAREA"] > 5 * r["LINEAREA_ERR"] > 0 for n, r in rows.items()}
        for name, row in rows.items():
            if not strong[name]:
                continue
            i = lines.index(name)
            want, error = row["LINEEW"] / (1 + z), row["LINEEW_ERR"] / (1 + z)
            compared += 1
            if LINES[name].kind == "balmer":
                # SPZLINE divides these by the bottom of the absorption: fluxes are compared. Its
                # continua have up to an Angstrom less of absorption.
                flux, flux_error = lines[name]
                noise = np.hypot(flux_error, row["LINEAREA_ERR"])
                tolerance = max(0.1 * flux, 3 * noise, 1.5 * lines.continuum[i])
                if not abs(flux - row["LINEAREA"]) < tolerance:
                    wrong.append((path.name, name, flux, row["LINEAREA"]))
                continue
            tolerance = max(0.15 * want, 3 * np.hypot(error, lines.ew_error[i]))
            if not abs(lines.ew[i] - want) < tolerance:
                wrong.append((path.name, name, lines.ew[i], want))
        if all(strong.values()):
            classes += 1
            theirs = {n: (float(r["LINEAREA"]), float(r["LINEAREA_ERR"])) for n, r in rows.items()}
            assert classify_bpt(lines).bpt_class is classify_bpt(theirs).bpt_class, path.name
    assert compared > 10
    assert classes >= 2
    assert not wrong
