"""``photospec photoz``: a table and a qp file of redshifts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import QTable

from photospec import PhotoSpectrograph
from photospec.cli import main
from photospec.image import read_image
from photospec.weights import FILES, assemble, read_config, save_cascade


@pytest.fixture(scope="module")
def weights(tiny_weights, tmp_path_factory):
    """Random networks that draw a redshift first."""
    config = read_config(tiny_weights)
    stage = replace(config.base, redshift=True)
    config = replace(config, base=stage, super_resolution=stage)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = {name: config.build(name) for name in FILES}
    folder = tmp_path_factory.mktemp("weights") / "w"
    save_cascade(folder, assemble(stages, config), config)
    return folder


@pytest.fixture
def cutouts(tmp_path):
    y, x = np.mgrid[:70, :70] - 35
    paths = []
    for number in range(3):
        light = np.exp(-np.hypot(x, y) / (3 + number))
        data = np.arange(1, 6)[:, None, None] * light
        data += np.random.default_rng(number).normal(0, 0.01, data.shape)
        hdu = fits.PrimaryHDU(data.astype(np.float32))
        hdu.header.update({"BANDS": "ugriz", "BUNIT": "nanomaggy", "PIXSCALE": 0.396})
        paths.append(tmp_path / f"{number}.fits")
        hdu.writeto(paths[-1])
    return paths


def test_table_and_densities(weights, cutouts, tmp_path, capsys):
    qp = pytest.importorskip("qp")
    outputs = tmp_path / "z.ecsv", tmp_path / "z.hdf5"
    command = ["photoz", *map(str, cutouts), "--weights", str(weights), "--galactic-ebv", "0.1"]
    assert main([*command, "-o", str(outputs[0]), "--qp", str(outputs[1])]) == 0
    table = QTable.read(outputs[0])
    assert [name.rsplit("/")[-1] for name in table["image"]] == ["0.fits", "1.fits", "2.fits"]
    images = [read_image(path) for path in cutouts]
    for image in images:
        image.meta["galactic_ebv"] = 0.1
    density = PhotoSpectrograph.load(weights).redshift_density(images)
    np.testing.assert_allclose(table["redshift"], density.mean, rtol=1e-5)
    np.testing.assert_allclose(table["redshift_error"], density.std, rtol=1e-5)
    np.testing.assert_allclose(table["redshift_q84"], density.quantile(0.84), rtol=1e-5)
    assert (table["redshift_q16"] < table["redshift_median"]).all()
    assert (table["galactic_ebv"].to_value("mag") == 0.1).all()
    flags = np.ma.filled(np.ma.asarray(table["image_flags"]), "").tolist()
    assert flags == ["; ".join(one) for one in density.flags]
    ensemble = qp.read(str(outputs[1]))
    np.testing.assert_allclose(np.ravel(ensemble.mean()), density.mean, atol=1e-3)
    assert main([*command, "-o", str(outputs[0])]) == 2
    assert "exists already" in capsys.readouterr().err


def test_verbose_tells_of_each_image(weights, cutouts, tmp_path, capsys):
    command = ["photoz", *map(str, cutouts), "--weights", str(weights), "-o"]
    assert main([*command, str(tmp_path / "a.ecsv")]) == 0
    assert "info" not in capsys.readouterr().err
    assert main([*command, str(tmp_path / "b.ecsv"), "--verbose"]) == 0
    table = QTable.read(tmp_path / "b.ecsv")
    told = [line for line in capsys.readouterr().err.splitlines() if ": z = " in line]
    for row, line in zip(table, told, strict=True):
        numbers = f"z = {row['redshift']:.3f} +- {row['redshift_error']:.3f}"
        assert f"{row['image']}: {numbers}, flags: galactic_ebv_assumed" in line


def test_images_that_fail_are_named(weights, cutouts, tmp_path, capsys):
    bad = tmp_path / "bad.fits"
    fits.PrimaryHDU(np.zeros((5, 70, 70), np.float32)).writeto(bad)
    out = tmp_path / "z.ecsv"
    status = main(["photoz", str(cutouts[0]), str(bad), "-o", str(out), "--weights", str(weights)])
    error = capsys.readouterr().err
    assert status == 1
    assert "bad.fits" in error
    assert "1 of 2 images failed" in error
    table = QTable.read(out)
    assert len(table) == 1
    assert table["image_flags"][0].startswith("galactic_ebv_assumed")
    assert (
        main(["photoz", str(bad), "-o", str(tmp_path / "y.ecsv"), "--weights", str(weights)]) == 2
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x.fits"], "at least one of -o, --qp"),
        (["x.fits", "-o", "z.txt"], "ending in .ecsv or .fits"),
        (["x.fits", "-o", "z.ecsv", "--qp", "z.npz"], "ending in .hdf5"),
        (["x.fits", "-o", "z.ecsv", "--ra", "10"], "--ra and --dec go together"),
    ],
)
def test_refusals(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["photoz", *arguments]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-0.1", "5.1", "nan", "much"])
def test_impossible_dust(value, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["photoz", "x.fits", "-o", "z.ecsv", f"--galactic-ebv={value}"])
    assert caught.value.code == 2
    assert "expected a number from 0 to 5" in capsys.readouterr().err


def test_weights_without_a_density(tiny_weights, cutouts, tmp_path, capsys):
    out = tmp_path / "z.ecsv"
    command = ["photoz", str(cutouts[0]), "-o", str(out), "--weights", str(tiny_weights)]
    assert main(command) == 2
    assert "expected weights that draw redshifts" in capsys.readouterr().err
    assert not out.exists()
