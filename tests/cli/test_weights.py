"""``photospec predict`` with networks: their results and what is wrong with weights."""

import shutil

import numpy as np
import pytest
import torch
from astropy.io import fits
from safetensors.torch import load_file, save_file

from photospec.cli import demo, main
from photospec.networks.sizes import ContrastiveSize, EncoderSize, StageSize, TransformerSize
from photospec.spectrum import read_spectrum, to_arrays
from photospec.weights import Sampling, SpectrographConfig, assemble, save_cascade

STAGES = ("base", "super-resolution", "contrastive")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Small networks with random weights: they predict nonsense, but predict."""
    image = EncoderSize(width=16, depth=0, n_heads=2, patch_size=32, n_summary=2)
    stage = StageSize(image, TransformerSize(width=16, depth=1, n_heads=2, patch_size=60))
    config = SpectrographConfig(
        sampling=Sampling(n_steps_base=2, n_steps_super_resolution=2, n_candidates=2),
        base=stage,
        super_resolution=stage,
        contrastive=ContrastiveSize(8, image, stage.network),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {stage: config.build(stage) for stage in STAGES}
    folder = tmp_path_factory.mktemp("weights") / "w"
    save_cascade(folder, assemble(modules, config), config)
    return folder


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:80, :80] - 40
    noise = np.random.default_rng(0).normal(0, 0.01, (5, 80, 80))
    hdu = fits.PrimaryHDU((np.exp(-np.hypot(x, y) / 4) + noise).astype(np.float32))
    hdu.header.update(BANDS="ugriz", BUNIT="nanomaggy", PIXSCALE=0.396)
    for name in ("a.fits", "b.fits"):
        hdu.data[0] += 0.1
        hdu.writeto(name)
    return "a.fits"


def predict(*arguments, weights):
    return main(["predict", *arguments, "--weights", str(weights), "--quiet"])


def flux_in(path):
    return to_arrays(read_spectrum(path)).flux


def test_same_seed_same_spectra_alone_and_together(weights, image):
    assert predict("a.fits", "b.fits", "-o", "both.fits", weights=weights) == 0
    assert predict("a.fits", "b.fits", "-o", "again.fits", weights=weights) == 0
    assert predict("b.fits", "-o", "b-alone.fits", weights=weights) == 0
    assert predict("b.fits", "-o", "other.fits", "--seed", "1", weights=weights) == 0
    both = flux_in("both.fits")
    np.testing.assert_array_equal(both, flux_in("again.fits"))
    np.testing.assert_allclose(both[1:], flux_in("b-alone.fits"), rtol=1e-3)
    assert not np.allclose(both[1:], flux_in("other.fits"), rtol=1e-3)
    meta = read_spectrum("both.fits").meta
    assert meta["images"] == ["a.fits", "b.fits"]
    assert len(meta["similarity"]) == 2
    assert meta["seed"] == 0


def drop_file(folder):
    (folder / "super_resolution.safetensors").unlink()


def cut_file(folder):
    path = folder / "base.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def not_safetensors(folder):
    (folder / "contrastive.safetensors").write_text("<html>404</html>")


def spoil_number(folder):
    state = load_file(folder / "base.safetensors")
    next(iter(state.values())).view(-1)[0] = float("nan")
    save_file(state, folder / "base.safetensors")


def edit_config(old, new):
    def edit(folder):
        path = folder / "config.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (shutil.rmtree, "expected a folder"),
        (drop_file, "super_resolution.safetensors"),
        (cut_file, "truncated"),
        (not_safetensors, "safetensors"),
        (spoil_number, "finite"),
        (lambda folder: (folder / "config.toml").unlink(), "config.toml"),
        (edit_config("spectrograph-1", "spectrograph-9"), "format"),
        (edit_config("image_size", "picture_size"), "picture_size"),
        (edit_config('"u", "g", "r", "i", "z"', '"g", "r", "i"'), "shape"),
        (edit_config('"u", "g", "r", "i", "z"', '"u", "g", "r", "i", "Y"'), "Y"),
    ],
)
def test_unusable_weights_are_one_line(spoil, word, weights, image, tmp_path, capsys):
    folder = tmp_path / "spoiled"
    shutil.copytree(weights, folder)
    spoil(folder)
    assert predict(image, "-o", "s.fits", weights=folder) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("photospec: error: ")
    assert word in line
    assert not (tmp_path / "s.fits").exists()


def test_precision(weights, image, tmp_path, capsys):
    assert predict(image, "-o", str(tmp_path / "s.fits"), "--dtype", "int8", weights=weights) == 0
    capsys.readouterr()
    assert predict(image, "-o", "other.fits", "--dtype", "float16", weights=weights) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("photospec: error: dtype: expected one of float32, bfloat16, int8")


@pytest.mark.parametrize("device", ["cuda:99", "abacus", "mps"])
def test_unavailable_device_is_one_line(device, weights, image, capsys):
    assert predict(image, "-o", "s.fits", "--device", device, weights=weights) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("photospec: error: device: expected")
    assert device in line


def test_demo_sets_prediction_beside_truth(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("photospec.spectrograph._BUNDLED", weights)
    assert main(["demo"]) == 0
    folder = tmp_path / "photospec-demo"
    names = {path.name for path in folder.iterdir()}
    assert names == {"image.fits", "spectrum.fits", "properties.ecsv", "figure.png"}
    printed = capsys.readouterr()
    assert "done: 100%" in printed.err
    redshift = next(line for line in printed.out.splitlines() if line.startswith("redshift"))
    # Measured on the true spectrum, the redshift is the one that was put in.
    measured, put_in = map(float, redshift.split()[-2:])
    assert measured == pytest.approx(put_in, abs=1e-3)
    assert "2 spectra were drawn that go with it" in " ".join(printed.out.split())
    # Its image is an image like any other.
    assert predict(str(folder / "image.fits"), "-o", "s.fits", weights=weights) == 0
    np.testing.assert_array_equal(flux_in("s.fits"), flux_in(folder / "spectrum.fits"))
    assert main(["demo"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_demo_says_how_to_read_its_numbers():
    from astropy.table import MaskedColumn, Table

    table = Table({"n_candidates": [8, 1], "bpt_class": ["SEYFERT", "COMPOSITE"]})
    for column in (column for column, _, form in demo._COMPARED if form):
        table[column] = MaskedColumn([1.0, 2.0])
        table[f"{column}_error"] = MaskedColumn([2.0, 0.1])  # half an error away
    table["oiii_5007_ew_error"][0] = 0.6  # 1.7
    table["dn4000_error"][0] = 0.3  # 3.3
    table["ebv"].mask = [False, True]
    text = " ".join(demo._how_to_read(table))
    assert "8 spectra were drawn" in text
    assert "6 of 8 numbers lie within one error of the true spectrum's, 7 within two" in text
    assert max(map(len, demo._how_to_read(table))) <= 80
