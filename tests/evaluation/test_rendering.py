"""Images with given fluxes, and catalogues that are read or refused."""

import numpy as np
import pytest
from astropy.table import Table

from photospec.errors import InputError
from photospec.evaluation import read_catalogue
from photospec.evaluation.rendering import render_catalogue
from photospec.photometry.apertures import aperture_flux
from photospec.simulation import Survey

FLUX = 10 ** (0.4 * (22.5 - np.array([19.0, 17.6, 17.0, 16.65, 16.4])))


@pytest.fixture(scope="module")
def survey():
    base = Survey.sdss_main()
    from dataclasses import replace

    empty = replace(base.scene, galaxy_density=0.0, star_density=0.0, merger_fraction=0.0)
    return base.replace(scene=empty, galactic_extinction=False)


def test_images_have_the_fluxes_asked_for(survey):
    flux = FLUX * np.array([1.0, 1.0, 2.0])[:, None]
    image = render_catalogue(flux, np.full(3, 0.08), survey, n_pool=300)
    assert image.shape == (3, 5, 64, 64)
    seen = np.array([aperture_flux(one, 11.0) for one in image])
    assert np.all(seen[:, 2] / flux[:, 2] > 0.8)
    # Colours hold to the noise: u is the noisiest.
    colour, wanted = (-2.5 * np.log10(f[:, 1:] / f[:, :-1]) for f in (seen, flux))
    np.testing.assert_allclose(colour[:, 1:3], wanted[:, 1:3], atol=0.06)


def test_dust_of_the_milky_way_dims_them(survey):
    z = np.full(8, 0.08)
    flux = np.repeat(FLUX[None], 8, axis=0)
    clear = render_catalogue(flux, z, survey, n_pool=300)
    dusty = render_catalogue(flux, z, survey.replace(galactic_extinction=True), n_pool=300)
    ratio = [dusty[:, b].sum() / clear[:, b].sum() for b in (1, 3)]
    assert ratio[0] < ratio[1] < 1


def test_same_seed_same_images(survey):
    made = [render_catalogue(FLUX[None], [0.1], survey, seed=3, n_pool=200) for _ in range(2)]
    np.testing.assert_array_equal(*made)


def test_refusals(survey):
    with pytest.raises(InputError, match=r"flux: expected \(1, 5\) positive fluxes"):
        render_catalogue(-FLUX[None], [0.1], survey)
    with pytest.raises(InputError, match="survey: expected bands u,g,r,i,z"):
        render_catalogue(FLUX[None], [0.1], Survey.desi_legacy())


def catalogue(path, n=40, r=16.5):
    rng = np.random.default_rng(0)
    table = Table({"redshift": rng.uniform(0.0, 0.2, n)})
    for band, value in zip("ugriz", FLUX * 10 ** (0.4 * (17.0 - r))):
        table[f"{band}_maggies"] = np.full(n, value)
    table["u_maggies"][0] = np.nan
    table.write(path)
    return path


def test_a_catalogue_is_cut(tmp_path):
    found = read_catalogue(catalogue(tmp_path / "c.fits"))
    assert found.redshift.min() > 0.05
    assert found.redshift.max() < 0.15
    assert np.isfinite(found.flux).all()
    assert found.flux.shape == (len(found), 5)


def test_catalogues_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="nanomaggies"):
        read_catalogue(catalogue(tmp_path / "faint.fits", r=20.0))
    Table({"redshift": [0.1]}).write(tmp_path / "less.fits")
    with pytest.raises(InputError, match="u_maggies to z_maggies"):
        read_catalogue(tmp_path / "less.fits")
