"""Data folders of the published code become pairs."""

import numpy as np
import pytest

from photospec.cli import main
from photospec.errors import InputError, PhotospecWarning
from photospec.pairs import PairsFile
from photospec.published.data_folder import convert_published
from photospec.spectrum import WAVELENGTH

LOG_WAVELENGTH = 3.5901 + 1e-4 * np.arange(3599)


def spectrum(number):
    wavelength = 10**LOG_WAVELENGTH
    return 5 + number + 1e-3 * (wavelength - 6000)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for part in ("images", "spectra", "indices"):
        (root / part).mkdir(parents=True)
    for number in (0, 2, 10):
        image = np.zeros((64, 64, 5), "f4")
        image[3, 7] = [1, 2, 3, 4, 5 + number]
        np.save(root / "images" / f"{number}.npy", image)
        np.save(root / "spectra" / f"{number}.npy",
                spectrum(number) + rng.normal(0, 0.2, LOG_WAVELENGTH.size))  # fmt: skip
        np.save(root / "indices" / f"{number}.npy", np.array([299489676975171584 + 1024, 0.1]))
    np.save(root / "wavelength.npy", LOG_WAVELENGTH)
    return root


def test_pairs_hold_what_the_folder_held(folder, tmp_path):
    notes = []
    assert convert_published(folder, tmp_path / "p.h5", note=notes.append) == 3
    assert notes == [f"{tmp_path / 'p.h5'}: 3 pairs"]
    with PairsFile(tmp_path / "p.h5") as file:
        assert (file.bands, file.pixel_scale) == (tuple("ugriz"), 0.396)
        np.testing.assert_array_equal(file.wavelength, WAVELENGTH)
        # by number, not by name: 0, 2, 10
        assert file.image()[:, 4, 3, 7].tolist() == [5, 7, 15]
        assert file.image(0)[:, 3, 7].tolist() == [1, 2, 3, 4, 5]
        assert (file.image(0)[0] != 0).sum() == 1
        smooth = 5 + np.array([[0], [2], [10]]) + 1e-3 * (WAVELENGTH - 6000)
        assert np.abs(file.flux() - smooth).max() < 0.6
        assert np.abs((file.flux() - smooth).mean(axis=1)).max() < 0.02
        # errors, which such folders lack, are those of the scatter
        chi = (file.flux() - smooth) * np.sqrt(file.ivar())
        assert chi.std() == pytest.approx(1, abs=0.1)
        assert file.object["redshift"].tolist() == [0.1] * 3
        assert int(file.object["specobjid"][0]) == 299489676975171584 + 1024
        assert not file.has_truth


def test_galaxies_that_are_not_whole_are_left_out(folder, tmp_path):
    (folder / "indices" / "2.npy").unlink()
    with pytest.warns(PhotospecWarning, match="left out 1 galaxies .* the first is 2"):
        assert convert_published(folder, tmp_path / "p.h5") == 2


class Code:
    def __reduce__(self):
        import os

        return os.mkdir, ("never",)


def spoil(folder, how):
    path = folder / "spectra" / "2.npy"
    if how == "pickle":
        np.save(path, np.array([Code()], dtype=object), allow_pickle=True)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "length":
        np.save(path, np.ones(100))
    elif how == "image":
        np.save(folder / "images" / "2.npy", np.ones((5, 64, 64)))
    elif how == "index":
        np.save(folder / "indices" / "2.npy", np.array([np.nan, 0.1]))
    elif how == "grid":
        np.save(folder / "wavelength.npy", 10**LOG_WAVELENGTH)
    elif how == "short":
        np.save(folder / "wavelength.npy", LOG_WAVELENGTH - 0.1)
    elif how == "two grids":
        np.save(folder / "other.npy", LOG_WAVELENGTH)
    elif how == "no part":
        (folder / "images").rename(folder / "pictures")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("pickle", r"expected a plain array, got .*2\.npy"),
        ("cut", r"expected a plain array, got .*2\.npy"),
        ("empty", r"expected a plain array, got .*2\.npy"),
        ("length", r"shape \(3599,\) in .*2\.npy, got float64 \(100,\)"),
        ("image", r"shape \(64, 64, 5\) in .*2\.npy, got float64 \(5, 64, 64\)"),
        ("index", "a specObjID and a redshift for galaxy 2"),
        ("grid", "increasing log10 of Angstrom"),
        ("short", "expected coverage of 4000 to 8499 Angstrom"),
        ("two grids", "expected one .npy file of log10 wavelengths in .*, got 2"),
        ("no part", "got no images"),
    ],
)
def test_bad_folders_are_named_and_leave_nothing(how, message, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil(folder, how)
    with pytest.raises(InputError, match=message) as error:
        convert_published(folder, tmp_path / "p.h5")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_command(folder, tmp_path, capsys):
    output = tmp_path / "pairs.h5"
    command = ["train", "convert-published", "--from", str(folder), "-o", str(output)]
    np.save(tmp_path / "grid.npy", LOG_WAVELENGTH)
    (folder / "wavelength.npy").unlink()
    assert main(command) == 2
    assert "expected one .npy file" in capsys.readouterr().err
    assert main([*command, "--wavelength", str(tmp_path / "grid.npy")]) == 0
    assert "3 pairs" in capsys.readouterr().out
    before = output.read_bytes()
    assert main([*command, "--wavelength", str(tmp_path / "grid.npy")]) == 2
    assert "exists" in capsys.readouterr().err
    assert output.read_bytes() == before
    for arguments, message in (
        (["train", "convert-published", "-o", str(output)], "--from: expected"),
        (
            ["train", "base", "--from", str(folder)],
            "--from: expected with convert-... only, got base",
        ),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
