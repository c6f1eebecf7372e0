"""Templates: closed forms, the compression, and files in pPXF's format."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from photospec.analysis.populations import templates as module
from photospec.analysis.populations.templates import bc03_templates, load_templates
from photospec.errors import InputError
from photospec.spectrum import vacuum_to_air
from photospec.stellar_grids import stellar_grid


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
    np.testing.assert_allclose(young.spectra, bc03.spectra[:, : young.age.size], rtol=1e-12)


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


def _emiles_like(folder):
    """A small file as pPXF publishes them: wavelengths in air, Lsun/A per solar mass, FWHM."""
    grid = stellar_grid((3500.0, 7700.0))
    ages, metals = np.array([0.1, 1.0, 3.0, 10.0]), np.array([-0.7, 0.0, 0.4])
    at_age = [np.argmin(np.abs(grid.age - 1e9 * age)) for age in ages]
    at_metal = [np.argmin(np.abs(np.log10(grid.metallicity / 0.02) - m)) for m in metals]
    lam = np.arange(3540.0, 7650.0, 0.9)
    spectra = [
        [np.interp(lam, vacuum_to_air(grid.wavelength), grid.flux[m, a]) for m in at_metal]
        for a in at_age
    ]
    return _write(
        folder / "spectra_emiles_9.0.npz", templates=np.moveaxis(np.array(spectra), -1, 0),
        lam=lam, fwhm=np.full(lam.size, 2.51), ages=ages, metals=metals,
        masses=np.full((4, 3), 0.7),
    )  # fmt: skip


def test_fit_with_a_ppxf_template_file_by_path(tmp_path, make_galaxy):
    from photospec.analysis import fit_populations

    path = _emiles_like(tmp_path)
    fit = fit_populations(
        make_galaxy(0.05, age=3e9, lines=0.5, signal_to_noise=40), 0.05, templates=path
    )
    assert fit.templates == "spectra_emiles_9.0"
    assert fit.light_weights.shape == (4, 3)
    assert abs(fit.velocity) < 10  # air wavelengths as vacuum would be 80 km/s
    assert fit.velocity_dispersion == pytest.approx(150, rel=0.1)
    assert fit.age_light_weighted == pytest.approx(3, rel=0.35)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """Address of a server of the files in a folder, and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=folder)) as serving:
        thread = Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}", folder
        serving.shutdown()
        thread.join()


def test_published_files_are_fetched_when_asked_for_and_once(server, tmp_path, monkeypatch):
    address, folder = server
    for name, url in module.PPXF_TEMPLATES.items():
        assert url.endswith(f"/micappe/ppxf_data/main/spectra_{name}_9.0.npz")
    assert set(module.PPXF_TEMPLATES) == {"emiles", "fsps", "galaxev", "xsl"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "astropy").mkdir()
    monkeypatch.setitem(module.PPXF_TEMPLATES, "xsl", f"{address}/spectra_xsl_9.0.npz")
    served = _write(folder / "spectra_xsl_9.0.npz")
    assert load_templates("xsl", allow_download=True).age.size == 3
    served.unlink()
    assert load_templates("xsl", allow_download=True).age.size == 3


def test_no_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "astropy").mkdir()
    # Port 9 (discard) is closed.
    monkeypatch.setitem(module.PPXF_TEMPLATES, "fsps", "http://127.0.0.1:9/spectra_fsps_9.0.npz")
    with pytest.raises(InputError, match="expected to fetch http") as error:
        load_templates("fsps", allow_download=True)
    assert "\n" not in str(error.value)
