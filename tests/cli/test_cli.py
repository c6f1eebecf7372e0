"""The command line: what it writes, what it says, and how it ends."""

import errno
import os
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from specutils import SpectrumList

import photospec
import photospec.analysis
from photospec.candidates import CandidateSpectra, read_candidates
from photospec.cli import build_parser, main
from photospec.errors import InputError
from photospec.image import prepare_image
from photospec.spectrum import WAVELENGTH, from_arrays, read_spectrum, to_arrays, write_spectra


class FakeSpectrograph:
    """Answers at once; its images go through the real gate."""

    settings = None

    @classmethod
    def load(cls, path=None, device=None, dtype=None):
        cls.settings = {"path": path, "device": device, "dtype": dtype}
        return cls()

    def prepare(self, image):
        return prepare_image(image)

    def sample_each(self, images, n_candidates, **settings):
        self.settings.update(settings, n_candidates=n_candidates)
        n = n_candidates or 3
        for image in images:
            level = image.data[2].sum() * np.linspace(0.9, 1.1, n)
            flux = level[:, None] * np.linspace(1, 2, WAVELENGTH.size)
            meta = {"flags": ["padded", "resampled"], "seed": 4, "weights": "fake", "nfe": 1}
            meta |= {"n_candidates": n, "galactic_ebv": 0.03}
            spectra = from_arrays(WAVELENGTH, flux, lsf=2.0, meta=meta)
            redshift = np.linspace(0.1, 0.12, n)
            yield CandidateSpectra(spectra, np.arange(n) / n, redshift, n // 2, 0.11)


def fake_measure(spectrum, **settings):
    spectra = spectrum if isinstance(spectrum, list) else [spectrum]
    n = sum(len(to_arrays(item)) for item in spectra)
    if callable(settings.get("progress")):
        settings["progress"](n)
    table = QTable({"redshift": np.full(n, 0.1), "redshift_error": np.full(n, 0.001)})
    table["bpt_class"] = ["STAR_FORMING"] * n
    table["flags"] = [""] * n
    return table


@pytest.fixture
def fakes(monkeypatch):
    monkeypatch.setitem(vars(photospec), "PhotoSpectrograph", FakeSpectrograph)
    monkeypatch.setitem(vars(photospec.analysis), "measure_properties", fake_measure)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def galaxy(size=96, n_bands=5):
    y, x = np.mgrid[:size, :size] - size // 2
    light = np.exp(-np.hypot(x, y) / 4)
    noise = np.random.default_rng(1).normal(0, 0.01, (n_bands, size, size))
    return (np.arange(1, n_bands + 1)[:, None, None] * light + noise).astype(np.float32)


def save(path, data=None, bands="ugriz", unit="nanomaggy", scale=0.396):
    hdu = fits.PrimaryHDU(galaxy() if data is None else data)
    for key, value in (("BANDS", bands), ("BUNIT", unit), ("PIXSCALE", scale)):
        if value is not None:
            hdu.header[key] = value
    hdu.writeto(path)
    return str(path)


def one_error(capsys, *words):
    """The only line on stderr is an error that has these words; return it."""
    stderr = capsys.readouterr().err
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("photospec: error: ")
    for word in words:
        assert word in lines[0]
    return lines[0]


# ---------------------------------------------------------------- what it writes


def test_predict_writes_spectra_table_and_figure(fakes, in_folder, capsys):
    images = [save(f"{name}.fits", (i + 1) * galaxy()) for i, name in enumerate("abc")]
    outputs = ["-o", "s.fits", "--table", "t.ecsv", "--figure", "f.png"]
    assert main(["predict", *images, *outputs, "--seed", "4", "--n-candidates", "7"]) == 0

    spectra = to_arrays(read_spectrum("s.fits"))
    assert spectra.flux.shape == (3, 4500)
    # In the order given: the second galaxy is twice as bright as the first.
    np.testing.assert_allclose(spectra.flux[:, 0] / spectra.flux[0, 0], [1, 2, 3], rtol=1e-5)
    assert spectra.meta["images"] == images
    table = QTable.read("t.ecsv")
    assert list(table["image"]) == images
    assert set(table["image_flags"]) == {"padded; resampled"}
    assert (in_folder / "f.png").read_bytes().startswith(b"\x89PNG")
    assert FakeSpectrograph.settings["seed"] == 4
    assert FakeSpectrograph.settings["n_candidates"] == 7
    printed = capsys.readouterr()
    assert "s.fits: 3 spectra" in printed.out
    assert "predict: 100%" in printed.err
    assert [path.name for path in in_folder.glob("*partial*")] == []


def test_predict_writes_all_candidates_and_products(fakes, in_folder):
    os.mkdir("images")
    for name in "ab":
        save(f"images/{name}.fits", galaxy())
    outputs = ["--candidates", "c.fits", "--products", "products", "--table", "t.fits"]
    assert main(["predict", "images", *outputs, "--n-candidates", "4", "--quiet"]) == 0
    candidates = read_candidates("c.fits")
    assert list(candidates) == ["images/a.fits", "images/b.fits"]
    one = candidates["images/b.fits"]
    assert (len(one), one.best_index, one.expected_redshift) == (4, 2, 0.11)
    assert one.spectra.meta["flags"] == ["padded", "resampled"]
    np.testing.assert_allclose(one.redshift, np.linspace(0.1, 0.12, 4))
    products = sorted(path.name for path in (in_folder / "products").iterdir())
    assert products == ["a.fits", "b.fits"]
    table = QTable.read("t.fits", character_as_bytes=False)
    assert table.meta["WEIGHTS"] == "fake"
    assert main(["predict", "images", "--products", "products", "--quiet"]) == 2


def test_products_of_images_of_one_name_are_refused(fakes, in_folder, capsys):
    for folder in ("a", "b"):
        os.mkdir(folder)
        save(f"{folder}/x.fits")
    assert main(["predict", "a", "b", "--products", "p", "--quiet"]) == 2
    one_error(capsys, "--products", "different names")
    assert main(["predict", "a", "-o", "s.fits", "--observed", "x.fits", "--quiet"]) == 2
    one_error(capsys, "--observed", "--products")


def test_rows_say_where_the_galaxy_is(fakes, in_folder):
    path = save("image.fits", scale=None)
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    header |= {"CRPIX1": 49.0, "CRPIX2": 49.0, "CDELT1": -0.396 / 3600, "CDELT2": 0.396 / 3600}
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(header)
    assert main(["predict", path, "--table", "t.ecsv", "-o", "s.fits", "--quiet"]) == 0
    table = QTable.read("t.ecsv")
    assert table.colnames[:3] == ["image", "ra", "dec"]
    assert table["ra"][0].to_value("deg") == pytest.approx(150, abs=1e-5)
    assert table["dec"][0].to_value("deg") == pytest.approx(2, abs=1e-5)
    (spectrum,) = SpectrumList.read("s.fits")
    assert spectrum.meta["image"] == "image.fits"
    assert spectrum.meta["ra"] == pytest.approx(150, abs=1e-5)
    assert spectrum.uncertainty.array.min() > 0


def test_measure_says_that_errors_are_not_those_of_the_prediction(fakes, in_folder, capsys):
    images = [save(f"{name}.fits") for name in "ab"]
    outputs = ["-o", "s.fits", "--candidates", "c.fits"]
    assert main(["predict", *images, *outputs, "--n-candidates", "4", "--quiet"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("default", photospec.errors.PhotospecWarning)
        assert main(["measure", "s.fits", "-o", "t.ecsv", "--quiet"]) == 0
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("photospec: warning: s.fits holds predicted spectra")
    table = QTable.read("t.ecsv")
    assert list(table["image"]) == images
    assert list(table["file"]) == ["s.fits"] * 2
    assert all("errors are of the measurement only" in text for text in table["flags"])

    assert main(["measure", "c.fits", "-o", "u.ecsv", "--figure", "u.png", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    table = QTable.read("u.ecsv")
    assert list(table["image"]) == images
    assert list(table["n_candidates"]) == [4, 4]
    assert all(text == "errors from 4 candidates" for text in table["flags"])


def test_more_images_than_one_chunk_are_joined_in_order(fakes, in_folder):
    images = [save(f"{i:02}.fits", (i + 1) * galaxy()) for i in range(19)]
    assert main(["predict", *images, "-o", "s.fits", "--quiet"]) == 0
    spectrum = read_spectrum("s.fits")
    flux = to_arrays(spectrum).flux
    np.testing.assert_allclose(flux[:, 0] / flux[0, 0], np.arange(1, 20), rtol=1e-5)
    assert len(spectrum.meta["flags"]) == 19
    assert spectrum.meta["lsf_sigma"].shape == (4500,)


def test_pdf_has_a_page_for_every_six_galaxies(fakes, in_folder):
    images = [save(f"{i}.fits") for i in range(8)]
    assert main(["predict", *images, "--figure", "f.pdf", "--quiet"]) == 0
    assert (in_folder / "f.pdf").read_bytes().count(b"/Type /Page /Parent") == 2


def test_one_bad_image_is_reported_and_the_rest_go_on(fakes, in_folder, capsys):
    good, dark, other = save("good.fits"), save("dark.fits", 0 * galaxy()), save("other.fits")
    status = main(["predict", good, "missing.fits", dark, other, "-o", "s.fits", "--quiet"])
    assert status == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 3
    assert "missing.fits" in lines[0]
    assert "dark.fits" in lines[1]
    assert "2 of 4 images failed" in lines[2]
    assert read_spectrum("s.fits").meta["images"] == [good, other]


def test_measure_makes_one_table_of_all_files(fakes, in_folder, capsys):
    flux = np.ones((2, WAVELENGTH.size))
    write_spectra("a.fits", from_arrays(WAVELENGTH, flux))
    write_spectra("b.fits", from_arrays(WAVELENGTH, flux[0]))
    assert main(["measure", "a.fits", "b.fits", "-o", "t.ecsv", "--figure", "f.png"]) == 0
    table = QTable.read("t.ecsv")
    assert list(table["file"]) == ["a.fits", "a.fits", "b.fits"]
    assert (in_folder / "f.png").is_file()
    (in_folder / "c.fits").write_text("no spectrum")
    status = main(["measure", "a.fits", "c.fits", "-o", "t.ecsv", "--overwrite", "--quiet"])
    assert status == 1
    assert "c.fits" in capsys.readouterr().err


def test_simulate_writes_pairs_and_resumes(in_folder, capsys):
    from photospec.pairs import PairsFile

    command = ["simulate", "-n", "3", "-o", "p.h5", "--seed", "5", "--processes", "1"]
    assert main(command) == 0
    assert "3/3" in capsys.readouterr().err
    with PairsFile("p.h5") as pairs:
        assert len(pairs) == 3
        assert pairs.bands == ("u", "g", "r", "i", "z")
    assert main([*command, "--quiet"]) == 2
    one_error(capsys, "p.h5", "--overwrite")
    assert main([*command, "--resume", "--quiet"]) == 0


# ---------------------------------------------------------------- bad images


def truncated(path):
    save(path)
    path.write_bytes(path.read_bytes()[:20000])


NAN = np.full((5, 96, 96), np.nan, dtype=np.float32)
BAD_IMAGES = {
    "wrong number of bands": (lambda p: save(p, galaxy(n_bands=4)), "5 bands"),
    "missing band": (lambda p: save(p, galaxy(n_bands=4), bands="ugri"), "z"),
    "unknown band": (lambda p: save(p, bands="abcde"), "abcde"),
    "no band names": (lambda p: save(p, bands=None), "BANDS"),
    "bands last": (lambda p: save(p, np.moveaxis(galaxy(), 0, -1)), "bands come first"),
    "no unit": (lambda p: save(p, unit=None), "unit"),
    "not a flux unit": (lambda p: save(p, unit="K"), "K"),
    "no scale": (lambda p: save(p, scale=None), "pixel_scale"),
    "NaN everywhere": (lambda p: save(p, NAN), "none in band u"),
    "zeros": (lambda p: save(p, 0 * galaxy()), "0 in every pixel"),
    "too small": (lambda p: save(p, galaxy(16)), "crop"),
    "two-dimensional": (lambda p: save(p, galaxy()[0]), "shape"),
    "truncated": (truncated, "incomplete"),
    "empty": (lambda p: p.touch(), "empty"),
    "not FITS": (lambda p: p.write_text("<html>404</html>"), "FITS"),
    "missing": (lambda p: None, "does not exist"),
    "folder": (lambda p: p.mkdir(), "image.fits"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_image_is_one_line(case, fakes, in_folder, capsys):
    make, word = BAD_IMAGES[case]
    make(in_folder / "image.fits")
    assert main(["predict", "image.fits", "-o", "s.fits", "--quiet"]) == 2
    one_error(capsys, "image.fits", word)
    assert not (in_folder / "s.fits").exists()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        pytest.param(np.where(galaxy() > 4.5, np.nan, galaxy()), "not finite", id="NaN in part"),
        pytest.param(galaxy(56), "padded", id="smaller than the crop"),
    ],
)
def test_repaired_image_is_warned_about_and_used(data, word, fakes, in_folder, capsys):
    image = save(in_folder / "image.fits", data.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("default", photospec.errors.PhotospecWarning)
        assert main(["predict", image, "-o", "s.fits", "--quiet"]) == 0
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("photospec: warning: ")
    assert word in line


# ---------------------------------------------------------------- bad usage and outputs


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "VERB"),
        (["dance"], "invalid choice"),
        (["predict"], "nothing to write"),
        (["predict", "-o", "s.fits"], "--ra"),
        (["predict", "x.fits", "-o", "s.fits", "--ra", "5"], "--dec"),
        (["predict", "x.fits", "-o", "s.fits", "--ra", "400", "--dec", "0"], "360"),
        (["predict", "x.fits", "-o", "s.fits", "--ra", "nan", "--dec", "0"], "nan"),
        (["predict", "x.fits", "-o", "s.fits", "--seed", "-1"], "--seed"),
        (["predict", "x.fits", "-o", "s.fits", "--n-candidates", "0"], "--n-candidates"),
        (["predict", "x.fits", "-o", "s.fits", "--n-candidates", "many"], "many"),
        (["predict", "x.fits", "x.fits", "-o", "s.fits"], "twice"),
        (["predict", "x.fits", "-o", "x.fits"], "input"),
        (["predict", "x.fits", "-o", "s.fits", "--table", "s.fits"], "-o"),
        (["predict", "x.fits", "-o", "s.txt"], ".fits"),
        (["predict", "x.fits", "--table", "t.xlsx"], ".ecsv"),
        (["predict", "x.fits", "--figure", "f.gif"], ".png"),
        (["predict", "x.fits", "-o", "no/s.fits"], "does not exist"),
        (["predict", "x.fits", "-o", "file/s.fits"], "is a file"),
        (["predict", "x.fits", "-o", "old.fits"], "--overwrite"),
        (["predict", "frame-r-002830-6-0398.fits", "-o", "s.fits"], "--ra"),
        (["measure", "x.fits"], "-o"),
        (["measure", "x.fits", "-o", "t.ecsv", "--redshift", "-3"], "-3"),
        (["simulate", "-n", "0", "-o", "p.h5"], "-n"),
        (["simulate", "-n", "3", "-o", "p.fits"], ".h5"),
        (["simulate", "-n", "3", "-o", "p.h5", "--resume", "--overwrite"], "not allowed"),
        (["train", "base", "--pairs", "none.h5", "-o", "run"], "none.h5"),
        (["train", "sideways", "--pairs", "file", "-o", "run"], "super-resolution"),
        (["download"], "FOLDER"),
        (["download", "to", "--limit", "many"], "--limit"),
        (["demo", "-o", "no/such"], "does not exist"),
        (["demo", "-o", "file"], "is a file"),
    ],
)
def test_bad_usage_is_one_line(arguments, word, fakes, in_folder, capsys):
    for name in ("file", "old.fits"):
        (in_folder / name).touch()
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    one_error(capsys, word)


def test_existing_output_is_refused_before_the_work(in_folder, monkeypatch, capsys):
    monkeypatch.setitem(vars(photospec), "PhotoSpectrograph", None)
    image = save("image.fits")
    (in_folder / "f.png").write_text("precious")
    assert main(["predict", image, "-o", "s.fits", "--figure", "f.png"]) == 2
    one_error(capsys, "--figure", "f.png", "--overwrite")
    assert (in_folder / "f.png").read_text() == "precious"
    assert not (in_folder / "s.fits").exists()


def test_overwrite_replaces(fakes, in_folder):
    image = save("image.fits")
    (in_folder / "s.fits").write_text("old")
    assert main(["predict", image, "-o", "s.fits", "--overwrite", "--quiet"]) == 0
    assert read_spectrum("s.fits").flux.shape == (1, 4500)


def test_unwritable_folder_is_named_at_once(fakes, in_folder, monkeypatch, capsys):
    def refuse(**kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("photospec.cli.outputs.tempfile.TemporaryFile", refuse)
    assert main(["predict", save("image.fits"), "-o", "s.fits"]) == 2
    one_error(capsys, "-o", "Read-only file system")


@pytest.mark.parametrize(
    "reason",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Not enough space on disk: requested 144316, available 0."),  # astropy's
    ],
)
def test_full_disk_leaves_no_half_file(reason, fakes, in_folder, monkeypatch, capsys):
    def full(figures, path):
        path.write_bytes(b"half a figure")
        raise reason

    monkeypatch.setattr("photospec.figures.save_figure", full)
    assert main(["predict", save("image.fits"), "--figure", "f.png", "--quiet"]) == 2
    one_error(capsys, "f.png: No space left", "free some space")
    assert [path.name for path in in_folder.iterdir()] == ["image.fits"]


# ---------------------------------------------------------------- how it ends


def broken(kind):
    def measure(*args, **kwargs):
        raise kind

    return measure


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("1/0\nsecond line"), 3, "unexpected ZeroDivisionError"),
        (InputError("device: expected cpu, got x"), 2, "device"),
        (ModuleNotFoundError("no", name="ignite"), 2, "photospec[train]"),
        (ModuleNotFoundError("no", name="photospec.gone"), 3, "defect"),
        (MemoryError(), 3, "MemoryError"),
    ],
)
def test_every_failure_is_one_line(kind, status, word, fakes, in_folder, monkeypatch, capsys):
    monkeypatch.setitem(vars(photospec.analysis), "measure_properties", broken(kind))
    assert main(["predict", save("image.fits"), "--table", "t.ecsv", "--quiet"]) == status
    one_error(capsys, word)


def test_debug_shows_the_traceback(fakes, in_folder, monkeypatch):
    monkeypatch.setitem(vars(photospec.analysis), "measure_properties", broken(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["predict", save("image.fits"), "--table", "t.ecsv", "--debug"])


def test_every_argument_is_explained():
    parser = build_parser()
    (verbs,) = (
        action for action in parser._actions if hasattr(action, "choices") and action.choices
    )
    for verb, subparser in verbs.choices.items():
        if subparser.declare:
            subparser.declare(subparser)
        for action in subparser._actions:
            assert action.help, f"{verb} {action.dest}"
