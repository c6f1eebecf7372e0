"""``photospec predict`` with networks and measurements: the errors are those of the candidates."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from photospec.analysis import combine_candidates, measure_properties
from photospec.cli import _candidates, main
from photospec.cli._predictions import best_row
from photospec.cli.tables import stack_rows
from photospec.image import read_image
from photospec.spectrograph import PhotoSpectrograph
from photospec.spectrum import read_spectrum, to_arrays

IMAGES = ("a.fits", "b.fits")


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:80, :80] - 40
    noise = np.random.default_rng(0).normal(0, 0.01, (5, 80, 80))
    for name, size in zip(IMAGES, (3, 5), strict=True):
        hdu = fits.PrimaryHDU((np.exp(-np.hypot(x, y) / size) + noise).astype(np.float32))
        hdu.header.update(BANDS="ugriz", BUNIT="nanomaggy", PIXSCALE=0.396)
        hdu.writeto(name)
    return IMAGES


def predict(*arguments, weights):
    return main(["predict", *IMAGES, *arguments, "--weights", str(weights)])


def test_table_holds_the_spread_of_the_candidates(images, tiny_weights, monkeypatch, capsys):
    monkeypatch.setattr(_candidates, "_AT_ONCE", 3)  # a galaxy at a time
    arguments = ["--n-candidates", "4", "--seed", "2"]
    assert predict("-o", "s.fits", "--table", "t.ecsv", *arguments, weights=tiny_weights) == 0
    printed = capsys.readouterr()
    assert "2/2" in printed.err
    assert predict("-o", "alone.fits", *arguments, "--quiet", weights=tiny_weights) == 0
    table, written = QTable.read("t.ecsv"), read_spectrum("s.fits")
    assert list(table["image"]) == list(images) == written.meta["images"]
    assert list(table["n_candidates"]) == [4, 4]
    assert table.meta["redshift_range"] == [0.0, 0.8]  # of two tables with the same one
    spectrograph = PhotoSpectrograph.load(tiny_weights)
    for i, name in enumerate(images):
        candidates = spectrograph.sample(read_image(name), 4, seed=2)
        best = candidates.spectra[candidates.best_index]
        np.testing.assert_allclose(to_arrays(written).flux[i], to_arrays(best).flux[0], rtol=1e-6)
        assert table["similarity"][i] == pytest.approx(candidates.best.meta["similarity"])
        measured = measure_properties(candidates.spectra)
        expected = combine_candidates(measured, candidates.best_index)
        for column in ("redshift", "dn4000", "dn4000_error", "flags", "bpt_class_probability"):
            assert str(table[column][i]) == str(expected[column][0]), column
    # Drawn in one batch, the spectra agree to rounding.
    alone = read_spectrum("alone.fits")
    np.testing.assert_allclose(to_arrays(alone).flux, to_arrays(written).flux, rtol=1e-3)
    np.testing.assert_allclose(alone.meta["similarity"], written.meta["similarity"], atol=1e-4)


def test_rows_of_tables_are_joined_and_what_differs_is_said():
    parts = [
        QTable({"redshift": [0.1]}, meta={"redshift_range": [0.0, 0.8], "method": "bulk"}),
        QTable({"redshift": [0.2]}, meta={"redshift_range": [0.0, 0.8], "method": "ppxf"}),
        QTable({"redshift": [0.3]}, meta={"weights": "default", "method": "bulk"}),
    ]
    joined = stack_rows(parts)
    assert list(joined["redshift"]) == [0.1, 0.2, 0.3]
    expected = {"redshift_range": [0.0, 0.8], "method": "bulk; ppxf", "weights": "default"}
    assert joined.meta == expected
    assert parts[0].meta["method"] == "bulk"


def test_one_image_gives_the_bits_of_predict(images, tiny_weights):
    image = read_image(images[1])
    spectrograph = PhotoSpectrograph.load(tiny_weights)
    drawn = best_row(spectrograph.sample(image, None, seed=5))
    predicted = spectrograph.predict([image], seed=5)
    np.testing.assert_array_equal(drawn.flux.value, predicted.flux.value)
    for name in ("similarity", "flags", "n_candidates", "seed"):
        assert drawn.meta[name] == predicted.meta[name]


def test_quick_measures_one_and_says_so(images, tiny_weights):
    arguments = ["--quick", "--table", "t.ecsv", "--figure", "f.png", "--quiet"]
    assert predict(*arguments, weights=tiny_weights) == 0
    table = QTable.read("t.ecsv")
    assert list(table["n_candidates"]) == [1, 1]
    for flags in table["flags"]:
        assert flags.endswith("one candidate: errors are of the measurement only")
