"""Training corrects images and spectra for Galactic dust, as told, with errors."""

import numpy as np
import pytest

from photospec.dust import ASSUMED_EBV, band_extinction, galactic_extinction
from photospec.errors import InputError
from photospec.pairs import PairsFile, PairsWriter
from photospec.spectrum import WAVELENGTH
from photospec.training.data import PairsStream
from photospec.training.extinction import corrected_images, galactic_ebv, told_ebv
from photospec.training.settings import DataSettings

N = 24


@pytest.fixture
def dusty(tmp_path):
    """One galaxy behind more and more dust."""
    rng = np.random.default_rng(0)
    ebv = np.linspace(0, 0.4, N)
    image = (
        rng.uniform(1, 2, (1, 5, 32, 32))
        * 10 ** (-0.4 * ebv[:, None] * band_extinction("ugriz"))[..., None, None]
    )
    flux = 10 * 10 ** (-0.4 * ebv[:, None] * galactic_extinction(WAVELENGTH))

    def write(name, columns):
        path = tmp_path / name
        with PairsWriter(path, "ugriz", 0.396, WAVELENGTH, {"program": "test"}) as writer:
            z = np.full(N, 0.1)
            writer.append(image, flux, np.ones_like(flux), {"redshift": z} | columns, {}, flux)
        return path

    return write("known.h5", {"galactic_ebv": ebv}), write("unknown.h5", {}), ebv, write


def test_dust_is_taken_off(dusty, settings):
    path, *_ = dusty
    exact = {"ebv_relative_error": 0.0, "ebv_error": 0.0, "ebv_unknown": 0.0}
    for target, weights in (("truth", "mask"), ("observed", "ivar")):
        data = DataSettings(**exact, weights=weights)
        options = {"augment": False, "batch_size": 8, "validation_pairs": 4, "target": target}
        stream = PairsStream(path, settings(**options, data=data))
        batch = stream.read(np.arange(stream.n_train))
        for values in (batch.image, batch.flux):
            np.testing.assert_allclose(values[0], values[-1], rtol=1e-5)
        stream.close()
    # errors of the flux grow with it
    np.testing.assert_allclose(
        (batch.ivar * batch.flux**2)[:, 0] / 100, dimming(dusty[2])[:20] ** 2, rtol=1e-4
    )
    with PairsFile(path) as file:
        np.testing.assert_allclose(
            corrected_images(file, slice(3, 5))[1], batch.image[0], rtol=1e-5
        )


def dimming(ebv):
    return 10 ** (-0.4 * ebv * galactic_extinction(WAVELENGTH[:1]))


def test_published_networks_see_images_as_taken(dusty, settings):
    path, *_ = dusty
    plain = DataSettings(correct_extinction=False)
    stream = PairsStream(
        path, settings(augment=False, data=plain, batch_size=8, validation_pairs=4)
    )
    with PairsFile(path) as file:
        np.testing.assert_array_equal(stream.read([2]).image[0], file.image(2))
    stream.close()


def test_what_training_is_told_has_errors():
    ebv = np.full(20_000, 0.1)
    data = DataSettings()
    told = told_ebv(ebv, data, np.random.default_rng(0))
    unknown = told == ASSUMED_EBV
    assert unknown.mean() == pytest.approx(0.1, abs=0.01)
    error = told[~unknown] - 0.1
    assert error.std() == pytest.approx(np.hypot(0.01, 0.01), rel=0.05)
    assert abs(error.mean()) < 5e-4
    assert told_ebv(np.zeros(1000), data, np.random.default_rng(0)).min() >= 0


def test_files_without_dust(dusty):
    _, path, ebv, write = dusty
    with PairsFile(path) as file:
        assert (galactic_ebv(file) == ASSUMED_EBV).all()
    holes = ebv.copy()
    holes[3] = np.nan
    with PairsFile(write("holes.h5", {"galactic_ebv": holes})) as file:
        assert galactic_ebv(file)[[2, 3]].tolist() == [ebv[2], ASSUMED_EBV]
    with (
        PairsFile(write("bad.h5", {"galactic_ebv": ebv - 0.1})) as file,
        pytest.raises(InputError, match=r"from 0 to 5 mag, got -0\.1"),
    ):
        galactic_ebv(file)
