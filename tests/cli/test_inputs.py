"""What ``predict`` and ``photoz`` take: files, folders, lists, positions; and where weights are."""

import os

import pytest
from astropy.table import Table

from photospec.cli._images import expanded, image_sources, sources_at
from photospec.cli.arguments import weights_folder
from photospec.errors import InputError
from photospec.image.wcs import header_wcs

NAMES = ("b.fits", "a.fits.gz", "c.FIT", "d.fits.bz2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("images")
    for name in (*NAMES, "notes.txt"):
        (tmp_path / "images" / name).touch()
    return tmp_path


def names(paths):
    return [path.name for path in paths]


def test_a_folder_stands_for_its_fits_files(folder):
    assert names(expanded(["images"])) == sorted(NAMES)
    assert names(expanded(["x.fits", "images"])) == ["x.fits", *sorted(NAMES)]
    assert [s.name for s in image_sources(["images"])] == [f"images/{n}" for n in sorted(NAMES)]


def test_a_list_names_files_and_folders(folder):
    (folder / "list.txt").write_text("# of today\n\nimages/b.fits\n  images/c.FIT  \n")
    assert names(expanded(["@list.txt"])) == ["b.fits", "c.FIT"]
    (folder / "other.txt").write_text("images\n")
    assert names(expanded(["@other.txt", "y.fits"])) == [*sorted(NAMES), "y.fits"]


def test_what_cannot_be_used_is_refused(folder):
    os.mkdir("empty")
    (folder / "bad.txt").write_bytes(b"\xff\xfe\x00")
    for given, word in (
        ("empty", "got none"),
        ("@no.txt", "No such file"),
        ("@bad.txt", "no text"),
    ):
        with pytest.raises(InputError, match=word):
            expanded([given])
    with pytest.raises(InputError, match=r"^spectra: .*got none"):
        expanded(["empty"], "spectra")
    with pytest.raises(InputError, match="given twice"):
        image_sources(["images", "images/b.fits"])


def test_positions_on_frames_that_are_named(shared, tmp_path):
    """Frames of a field of shared/real/fields, as a folder and one by one."""
    pytest.importorskip("lsdb")
    frames = sorted((shared / "real" / "fields").glob("**/frame-*.fits*"))
    one = [path for path in frames if path.name[8:] == frames[0].name[8:]]
    from astropy.io import fits

    header = fits.getheader(next(p for p in one if "-r-" in p.name))
    middle = header_wcs(header).pixel_to_world(900, 700)
    table = tmp_path / "positions.ecsv"
    Table({"ra": [middle.ra.deg], "dec": [middle.dec.deg], "image": ["x"]}).write(table)
    (given,) = sources_at(list(map(str, one)), table)
    assert set(given.paths) == set(one)
    assert given.position.separation(middle).arcsec < 1e-3
    # Fields in several folders: those given, or the folder that they are in.
    folders = sorted({str(path.parent) for path in frames})
    assert len(folders) == 2
    for names in (folders, folders[::-1], [str(shared / "real" / "fields")]):
        (again,) = sources_at(names, table)
        assert set(again.paths) == set(one)
    with pytest.raises(InputError, match="folders of them, with --positions, got other"):
        sources_at(["other.fits"], table)
    with pytest.raises(InputError, match="with --positions, got none"):
        sources_at([], table)


def test_weights_of_a_run(tmp_path):
    finished = tmp_path / "run" / "spectrograph"
    finished.mkdir(parents=True)
    assert weights_folder(str(tmp_path / "run")) == str(tmp_path / "run")
    (finished / "config.toml").touch()
    assert weights_folder(str(tmp_path / "run")) == str(finished)
    assert weights_folder(str(finished)) == str(finished)
    assert weights_folder("legacy") == "legacy"
