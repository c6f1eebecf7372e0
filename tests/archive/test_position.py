"""The image of a place on the sky."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from simulated_sky import BAND_FLUX, Sky, frame_bytes, frame_header, frame_path, to_sky

from photospec.archive import DownloadConfig, sdss_image
from photospec.archive.sdss.fields import read_frame
from photospec.errors import InputError
from photospec.image import prepare_image
from photospec.image.frames import Grid
from photospec.photometry.apertures import aperture_flux


def config(settings, **changes):
    values = {k: v for k, v in settings.items() if k not in ("progress", "size")}
    return DownloadConfig(**values | changes)


def test_image_of_a_galaxy(small_sky, serve, tmp_path):
    server, settings = serve(small_sky)
    galaxy = small_sky.galaxies[5]
    coord = SkyCoord(galaxy["ra"] * u.deg, galaxy["dec"] * u.deg).galactic
    image = sdss_image(coord, size=32, config=config(settings), folder=tmp_path)
    assert image.data.shape == (5, 32, 32)
    assert image.meta["bands"] == tuple("ugriz")
    assert (
        image.meta["name"] == f"sdss-{galaxy['run']:06d}-{galaxy['camcol']}-{galaxy['field']:04d}"
    )
    np.testing.assert_allclose(image.meta["position"], (galaxy["ra"], galaxy["dec"]))
    flux = aperture_flux(image.data, 4.0, center=(16, 16))
    np.testing.assert_array_less([0.97 * BAND_FLUX[band] for band in "ugriz"], flux)
    assert image.uncertainty.array.min() > 0
    # The second time the frames are at hand.
    n_before = sum(server.n_whole(path) for path in server.log if "frame" in path)
    again = sdss_image(
        (galaxy["ra"], galaxy["dec"]), size=32, config=config(settings), folder=tmp_path
    )
    np.testing.assert_allclose(again.data, image.data, atol=1e-5)
    assert sum(server.n_whole(path) for path in server.log if "frame" in path) == n_before


def test_faults_do_not_change_it(small_sky, serve, tmp_path):
    wanted = iter(["busy", "truncated", "html", "another", "changed"])
    _, settings = serve(
        small_sky, fault_of=lambda path: next(wanted, None) if "frame-" in path else None
    )
    galaxy = small_sky.galaxies[0]
    image = sdss_image((galaxy["ra"], galaxy["dec"]), config=config(settings), folder=tmp_path)
    assert prepare_image(image).data.shape == (5, 64, 64)
    assert next(wanted, None) is None


def test_the_field_on_which_the_cutout_is_whole(serve, tmp_path):
    """A place near the edge of one frame lies well inside the next one."""
    sky = Sky()
    rng = np.random.default_rng(3)
    # Two fields of one strip that overlap; the galaxy is on the last rows of the first.
    sky.add_simulated_field(1000, 1, 11, 2, rng, (120, 150))
    near = sky.galaxies[0]
    ra, dec = near["ra"], near["dec"]
    header = frame_header(1000, 1, 11, "r", (120, 150), (150.0, 2.0))
    x, y = WCS(header).world_to_pixel_values(ra, dec)
    centre = to_sky(header, float(x) + 60, float(y))  # 15 pixels from the edge of the second
    for band in "ugriz":
        sky.makers[frame_path(1000, 1, 12, band)] = lambda band=band: frame_bytes(
            1000, 1, 12, band, (120, 150), centre, [near], 5
        )
    for galaxy in sky.galaxies:
        galaxy["field"] = 12 if galaxy is near else 11
    path = tmp_path / "frame"
    whole = {}
    for field in (11, 12):
        path.write_bytes(sky.body(frame_path(1000, 1, field, "r")))
        frame = read_frame(path, "r", 1000, 1, field)[0]
        grid = Grid.around(frame.wcs, ra, dec, 48)
        whole[field] = bool(
            np.isfinite(frame.box(grid.x0, grid.x0 + 48, grid.y0, grid.y0 + 48)[0]).all()
        )
    assert whole == {11: True, 12: False}
    _, settings = serve(sky)
    image = sdss_image((ra, dec), size=48, config=config(settings), folder=tmp_path / "cache")
    assert image.meta["field"] == 11
    assert not image.mask.any()


def test_real_galaxy_from_the_real_field(serve, shared, tmp_path):
    from astropy.io import fits

    sky = Sky().add_real(shared)
    _, settings = serve(sky)
    galaxy = sky.galaxies[0]
    image = sdss_image(
        (galaxy["ra"], galaxy["dec"]), config=config(settings, read_timeout=10.0), folder=tmp_path
    )
    theirs = fits.getdata(galaxy["image"])
    center = image.wcs.world_to_pixel_values(galaxy["ra"], galaxy["dec"])
    ours = aperture_flux(image.data, 3.0, center=center)
    np.testing.assert_allclose(ours, aperture_flux(theirs, 3.0, center=center), rtol=5e-3)


def test_missing_frame_is_one_line(small_sky, serve, tmp_path):
    _, settings = serve(small_sky, fault_of=lambda path: "busy" if "frame-z" in path else None)
    galaxy = small_sky.galaxies[0]
    with pytest.raises(InputError, match=r"the frames could not be fetched.*HTTP 503") as caught:
        sdss_image(
            (galaxy["ra"], galaxy["dec"]), config=config(settings, n_attempts=2), folder=tmp_path
        )
    assert "\n" not in str(caught.value)
