"""``photospec simulate``: any survey by name or file, and one line for whatever is wrong."""

import errno

import pytest

from photospec.cli import main
from photospec.pairs import PairsFile
from photospec.simulation import PopulationConfig, Survey


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def simulate(*words):
    return main(["simulate", "--quiet", "--processes", "1", *words])


def error_line(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_another_survey(in_folder):
    assert simulate("-n", "2", "-o", "p.h5", "--survey", "desi_legacy", "--seed", "3") == 0
    with PairsFile("p.h5") as pairs:
        assert pairs.bands == ("g", "r", "i", "z")
        assert pairs.image().shape == (2, 4, 64, 64)
        assert pairs.provenance["survey"]["seed"] == 3
        assert {"dn4000", "lick_mgb", "lick_hdelta_a", "halpha_flux"} <= set(pairs.truth.colnames)


def test_a_survey_goes_to_a_file_and_comes_back(in_folder):
    assert simulate("--survey", "desi_legacy", "--seed", "7", "--write-survey", "s.toml") == 0
    assert [p.name for p in in_folder.iterdir()] == ["s.toml"]
    assert Survey.read("s.toml") == Survey.desi_legacy(seed=7)
    text = (in_folder / "s.toml").read_text()
    assert "# arcsec" in text
    (in_folder / "s.toml").write_text(text.replace("size = 64", "size = 48"))
    assert simulate("-n", "1", "-o", "a.h5", "--survey", "s.toml") == 0
    assert simulate("-n", "1", "-o", "b.h5", "--survey", "s.toml", "--seed", "8") == 0
    with PairsFile("a.h5") as a, PairsFile("b.h5") as b:
        assert a.image().shape == (1, 4, 48, 48)
        assert a.provenance["survey"]["seed"] == 7
        assert b.provenance["survey"]["seed"] == 8
        assert a.object["redshift"][0] != b.object["redshift"][0]


SHORT = "size = 32\n[population]\nredshift_min = 0.05\nredshift_max = 0.06\n"


def test_a_file_changes_only_what_it_names(in_folder):
    (in_folder / "short.toml").write_text(SHORT)
    assert simulate("-n", "20", "-o", "p.h5", "--survey", "short.toml") == 0
    with PairsFile("p.h5") as pairs:
        assert pairs.image().shape == (20, 5, 32, 32)
        z = pairs.truth["redshift"]
        assert z.min() >= 0.05
        assert z.max() <= 0.06


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeing = 1\n", ["bad.toml, line 1", "'seeing'"]),
        ("[population]\nmass = 3\n", ["line 2", "'population.mass'"]),
        ('bands = ["g", "r", "Y"]\n', ["responses", "one value per band (3)"]),
        ('responses = ["u", "g", "r", "i", "nosuch-z"]\n', ["nosuch-z"]),
        ('bands = ["g", "r"]\n', ["one value per band"]),
        ("pixel_scale = 0\n", ["pixel_scale"]),
        ("size = 1.5\n", ["size", "whole number"]),
        ("seed = -1\n", ["seed", "at least 0"]),
        ("[population]\nredshift_min = 0.2\nredshift_max = 0.1\n", ["redshift range"]),
        ("[population]\nredshift_max = nan\n", ["line 2", "redshift_max", "0.0 to 0.8"]),
        ("[population]\nr_limit = 30\n", ["r_limit", "10.0 to 21.0"]),
        ("[population]\nquiescent_max = 1.5\n", ["quiescent_max", "0 to 1"]),
        ("[population]\nms_scatter = -0.1\n", ["ms_scatter"]),
        ("[population]\ndust_av = inf\n", ["dust_av"]),
        ("[psf]\nfwhm = [0, 1, 1, 1, 1]\n", ["fwhm", "0.2"]),
        ("[noise]\nsky_rms = [1, 1]\n", ["sky_rms", "one value per band"]),
        ("[spectrograph]\nfibre_radius = 100\n", ["fibre_radius"]),
        ("[spectrograph]\nwavelength_range = [5000, 6000]\n", ["wavelength_range"]),
        ('sky_frames = ["nowhere"]\n', ["nowhere"]),
        ("size = \n", ["TOML"]),
    ],
)
def test_impossible_survey_files(in_folder, capsys, text, words):
    (in_folder / "bad.toml").write_text(text)
    assert simulate("-n", "1", "-o", "p.h5", "--survey", "bad.toml") == 2
    line = error_line(capsys)
    for word in words:
        assert word in line
    assert not (in_folder / "p.h5").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-n", "1", "-o", "p.h5", "--survey", "sdss"], "sdss_main, desi_legacy"),
        (["-n", "1", "-o", "p.h5", "--survey", "none.toml"], "does not exist"),
        (["-n", "1"], "expected both"),
        (["-o", "p.h5"], "expected both"),
        ([], "expected both"),
        (["--write-survey", "s.txt"], ".toml"),
        (["--write-survey", "old.toml"], "--overwrite"),
        (["--survey", "old.toml", "--write-survey", "old.toml", "--overwrite"], "the input"),
        (["-n", "1", "-o", "no/p.h5"], "does not exist"),
    ],
)
def test_what_does_not_go_together(in_folder, capsys, words, expected):
    Survey.sdss_main().write("old.toml")
    before = (in_folder / "old.toml").read_bytes()
    assert simulate(*words) == 2
    assert expected in error_line(capsys)
    assert [p.name for p in in_folder.iterdir()] == ["old.toml"]
    assert (in_folder / "old.toml").read_bytes() == before


def test_a_selection_that_nothing_passes(in_folder, capsys):
    """Bright galaxies far away: refused, not searched for until the end of time."""
    narrow = PopulationConfig(redshift_min=0.29, redshift_max=0.3, r_limit=12.0, r_bright=11.0)
    Survey.sdss_main().replace(population=narrow).write("far.toml")
    assert simulate("-n", "1", "-o", "p.h5", "--survey", "far.toml") == 2
    assert "expected limits that some galaxies pass" in error_line(capsys)


def test_a_full_disk(in_folder, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("photospec.pairs.PairsWriter.append", full)
    assert simulate("-n", "1", "-o", "p.h5") == 2
    assert "free disk space and resume" in error_line(capsys)
