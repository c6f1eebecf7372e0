"""Templates: closed forms, the compression, and files in pPXF's format."""

import numpy as np
import pytest

from photospec.analysis import templates as module
from photospec.analysis.templates import bc03_templates, load_templates
from photospec.errors import InputError
from photospec.grids import stellar_grid


@pytest.fixture(scope="module")
def bc03():
    return bc03_templates()


def test_templates_are_normalised_to_v_band_light(bc03):
    inside = (bc03.wavelength > 5075) & (bc03.wavelength < 5945)
    mean = bc03.spectra[inside].mean(0)
    # A logarithmic grid weighs the blue a little more than the linear one of the definition.
    assert np.abs(mean - 1).max() < 0.01


def test_wavelengths_are_vacuum_and_logarithmic(bc03):
    steps = np.diff(np.log(bc03.wavelength))
    assert np.ptp(steps) < 1e-9
    # Halpha absorption of a young population sits at its vacuum wavelength.
    a_stars = bc03.spectra[:, np.argmin(abs(bc03.age - 0.3)), 4]
    near = np.abs(bc03.wavelength - 6564.6) < 4
    assert bc03.wavelength[near][np.argmin(a_stars[near])] == pytest.approx(6564.6, abs=0.6)


def test_templates_are_means_over_age_bins_at_constant_formation(bc03):
    """One bin against a plain trapezoid over the ages of the grid."""
    edges = np.geomspace(1e6, 14.1e9, 31)
    grid = stellar_grid()
    fine = np.linspace(edges[24], edges[25], 2001)
    at_5500 = np.argmin(abs(grid.wavelength - 5500))
    at_5000 = np.argmin(abs(grid.wavelength - 5000))
    means = [
        np.trapezoid(np.interp(fine, grid.age, grid.flux[4, :, i]), fine)
        for i in (at_5000, at_5500)
    ]
    ours = [
        np.interp(grid.wavelength[i], bc03.wavelength, bc03.spectra[:, 24, 4])
        for i in (at_5000, at_5500)
    ]
    assert ours[0] / ours[1] == pytest.approx(means[0] / means[1], rel=0.01)


def test_compression_keeps_every_template(bc03, monkeypatch):
    """Against the same set built with next to no loss."""
    assert bc03.basis.shape[1] < 0.6 * bc03.age.size * bc03.metallicity.size
    monkeypatch.setattr(module, "COMPRESSION_LOSS", 1e-7)
    exact = bc03_templates.__wrapped__()
    assert exact.basis.shape[1] > bc03.basis.shape[1]
    lost = np.sqrt(np.mean((bc03.spectra - exact.spectra) ** 2, axis=0))
    assert 1e-5 < lost.max() < 1e-3


def test_means_of_weights(bc03):
    weights = np.zeros(bc03.light.shape)
    weights[5, 2] = 3.0
    assert bc03.mean_age(weights) == pytest.approx(bc03.age[5])
    assert bc03.mean_metallicity(weights) == pytest.approx(bc03.metallicity[2])
    weights[7, 4] = 3.0
    assert bc03.mean_age(weights) == pytest.approx(np.sqrt(bc03.age[5] * bc03.age[7]))
    assert bc03.mean_metallicity(weights) == pytest.approx(bc03.metallicity[[2, 4]].mean())
    assert np.isnan(bc03.mean_age(0 * weights))


def test_mass_weights_favour_old_stars(bc03):
    weights = np.zeros(bc03.light.shape)
    weights[[10, -1], 4] = 1.0
    mass = bc03.mass_weights(weights)
    assert mass.sum() == pytest.approx(1)
    assert mass[-1, 4] / mass[10, 4] == pytest.approx(bc03.light[10, 4] / bc03.light[-1, 4])
    assert mass[-1, 4] > 0.9


def test_mass_to_light_of_known_populations(bc03):
    """Solar metallicity, Kroupa: about 0.9 at 2 Gyr and 3 at 12 Gyr (BC03, r band)."""
    weights = np.zeros(bc03.light.shape)
    old, middle = weights.copy(), weights.copy()
    old[-1, 4] = middle[np.argmin(abs(bc03.age - 1.8)), 4] = 1.0
    assert bc03.mass_to_light(old) == pytest.approx(3.0, rel=0.2)
    assert bc03.mass_to_light(middle) == pytest.approx(0.85, rel=0.2)
    # Light adds, so do masses: half of the light each.
    both = bc03.mass_to_light(
        old / bc03.luminosity_r * bc03.light + middle / bc03.luminosity_r * bc03.light
    )
    assert both == pytest.approx(0.5 * (bc03.mass_to_light(old) + bc03.mass_to_light(middle)))


def test_until_drops_old_templates(bc03):
    young = bc03.until(1.0)
    assert young.age.max() <= 1.0
    assert young.spectra.shape[1:] == young.light.shape == young.live_mass.shape
    np.testing.assert_array_equal(young.spectra, bc03.spectra[:, : young.age.size])


def _write(path, **changes):
    lam = np.arange(3600.0, 7600.0, 1.0)
    ages, metals = np.array([1.0, 3.0, 10.0]), np.array([-0.4, 0.0])
    slope = np.linspace(1, 2, 6).reshape(3, 2)
    arrays = {
        "templates": 1e-4 * (lam[:, None, None] / 5500) ** slope,
        "lam": lam,
        "fwhm": np.full(lam.size, 2.51),
        "ages": ages,
        "metals": metals,
        "masses": np.full((3, 2), 0.7),
    } | changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_ppxf_template_file(tmp_path):
    library = load_templates(_write(tmp_path / "spectra_mine.npz"))
    assert library.name == "spectra_mine"
    assert library.spectra.shape[1:] == (3, 2)
    # Air became vacuum: 1.5 Angstrom at 5500.
    assert library.wavelength[0] == pytest.approx(3600 * 1.000285, abs=1.0)
    lam = library.wavelength
    ratio = np.interp(7000, lam, library.spectra[:, 2, 1]) / np.interp(
        5000, lam, library.spectra[:, 2, 1]
    )
    assert ratio == pytest.approx((7000 / 5000) ** 2, rel=1e-3)
    assert library.lsf_sigma[100] == pytest.approx(2.51 / 2.3548, rel=1e-3)


@pytest.mark.parametrize(
    "changes", [{"masses": None}, {"ages": np.array(["a", "b", "c"], dtype=object)}]
)
def test_broken_template_file_is_one_line(tmp_path, changes):
    path = _write(tmp_path / "broken.npz", **changes)
    with pytest.raises(InputError, match="templates: expected a pPXF template file") as error:
        load_templates(path)
    assert "\n" not in str(error.value)


def test_missing_templates_say_what_to_do(tmp_path):
    with pytest.raises(InputError, match="which is no file"):
        load_templates(tmp_path / "nowhere.npz")
    with pytest.raises(InputError, match="allow_download=True"):
        load_templates("emiles")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match="templates"):
        load_templates(tmp_path / "text.npz")


def test_download_goes_through_astropy(tmp_path, monkeypatch):
    path = _write(tmp_path / "fetched.npz")
    asked = []
    monkeypatch.setattr(
        "astropy.utils.data.download_file", lambda url, cache: asked.append(url) or str(path)
    )
    library = load_templates("xsl", allow_download=True)
    assert asked == [module.PPXF_TEMPLATES["xsl"]]
    assert library.age.size == 3
