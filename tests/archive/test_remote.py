"""The real servers. Run with ``pytest --remote-data=any tests/archive/test_remote.py``.

What is asked here is small: some galaxies, one field, one cutout.
"""

import numpy as np
import pytest

from photospec.archive import DownloadConfig, download, sdss_image
from photospec.archive.legacy import legacy_image
from photospec.errors import InputError
from photospec.image import prepare_image
from photospec.pairs import PairsFile

pytestmark = pytest.mark.remote_data


def test_two_galaxies_of_the_main_galaxy_sample(tmp_path):
    report = download(tmp_path, limit=2, progress=False)
    assert (report.n_done, report.n_failed) == (2, 0)
    with PairsFile(report.pairs) as pairs:
        table = pairs.object
        assert np.all((table["redshift"] > 0.05) & (table["redshift"] < 0.15))
        # MPA-JHU measured nearly all of the sample, and Dn4000 has a narrow range.
        assert np.all((table["mpa_d4000_n"] > 0.8) & (table["mpa_d4000_n"] < 2.6))
        assert np.all(table["petro_mag_r"] < 18.5)
        # The central pixel is bright: image and catalogue mean the same place.
        image = pairs.image(0)
        assert image[2, 30:35, 30:35].mean() > 5 * np.median(np.abs(image[2]))
        assert np.median(pairs.flux(0)) > 0


def test_a_known_galaxy():
    # Plate 266, MJD 51630, fibre 486: z = 0.1413, at 146.15186, +0.61346.
    config = DownloadConfig()
    image = sdss_image((146.15186, 0.61346142), config=config)
    array = prepare_image(image)
    assert array.data.shape == (5, 64, 64)
    r = array.data[2]
    assert r[30:35, 30:35].max() > 0.9 * r[24:41, 24:41].max()


def test_dry_run_of_the_whole_sample(tmp_path):
    report = download(tmp_path / "x", dry_run=True, progress=False)
    assert 200_000 < report.n_galaxies < 700_000


def test_off_the_footprint(tmp_path):
    with pytest.raises(InputError, match="off the footprint"):
        sdss_image((80.0, -69.0), folder=tmp_path)


def test_query_that_skyserver_refuses(tmp_path):
    with pytest.raises(InputError, match="SkyServer"):
        download(tmp_path, where="s.no_such_column > 1", n_attempts=2, progress=False)


def test_legacy_surveys():
    image = legacy_image((146.15186, 0.61346142), size=64, bands="grz")
    assert image.meta["bands"] == ("g", "r", "z")
    assert image.data.shape == (3, 64, 64)
    assert not image.mask.all()
