"""The whole report, small: of spectrographs that know the truth or another galaxy's."""

import numpy as np
import pytest
from astropy.table import Table

from photospec.cli import main
from photospec.errors import InputError
from photospec.evaluation import Settings, report
from photospec.evaluation.baselines import crossed, neighbours

pytest.importorskip("sklearn")
pytest.importorskip("qp")
SETTINGS = Settings(n_candidates=4, n_measured=12, n_set=2, n_unusual=0)


def rows_of(folder, name):
    table = Table.read(folder / f"{name}.ecsv")
    return {row[table.colnames[0]]: row for row in table}


@pytest.mark.slow
def test_two_spectrographs_on_one_page(make_oracle, pairs_path, tmp_path, browser):
    oracles = {"knows": make_oracle(scatter=0.02), "guesses": make_oracle(shift=5, scatter=0.02)}
    path = tmp_path / "report.html"
    subsets = ["quiescent", "magnitude"]
    comparison = report(oracles, pairs_path, path, subsets=subsets, settings=SETTINGS)
    folder = tmp_path / "report"
    redshift = rows_of(folder, "redshift")
    assert redshift["knows: best candidate"]["sigma_mad"] < 1e-3
    assert redshift["guesses: best candidate"]["sigma_mad"] > 0.02
    assert np.isfinite(redshift["nearest neighbour"]["sigma_mad"])
    densities = rows_of(folder, "densities")
    known = densities["knows: mean of the density drawn from"]["CRPS"]
    assert known < densities["mean of 10 neighbours"]["CRPS"]
    assert known < densities["the same for all"]["CRPS"]
    spectrum = rows_of(folder, "spectrum")
    assert spectrum["knows: best candidate"]["all (%)"] < 2
    assert spectrum["guesses: best candidate"]["all (%)"] > 5
    assert set(rows_of(folder, "spectrum_by_type")) <= {
        "quiescent", "star forming", "composite or AGN"
    }  # fmt: skip
    relations = rows_of(folder, "relations")["star-forming main sequence"]
    assert abs(relations["knows: best candidate"]) < 0.1
    for name in ("calibration", "agn", "bpt", "lines", "subset_quiescent", "redshift_by_colour"):
        assert len(Table.read(folder / f"{name}.ecsv"))
    # A second run draws no galaxy; the one draw is how such weights are told from others.
    calls = {name: oracle.calls for name, oracle in oracles.items()}
    again = report(oracles, pairs_path, path, subsets=subsets, settings=SETTINGS)
    assert {name: oracle.calls - calls[name] for name, oracle in oracles.items()} == {
        "knows": 1, "guesses": 1
    }  # fmt: skip
    np.testing.assert_array_equal(again.answers[0].redshift, comparison.answers[0].redshift)
    found, errors = browser(path, (390, 1280))
    assert errors == []
    drawn = path.read_text().count("data:image/png;base64,")
    for width, page in found.items():
        assert len(page["images"]) == drawn > 40
        assert all(shown for _, shown, _ in page["images"])
        assert page["content"] <= width
        assert page["outside"] == page["dead"] == page["loaded"] == []


def test_subsets_are_checked_first(oracle, pairs_path, tmp_path):
    with pytest.raises(InputError, match="subsets: expected columns of the pairs, got 'colours'"):
        report(oracle, pairs_path, tmp_path / "r.html", subsets=["colours"])
    assert oracle.calls == 0


def test_other_wavelengths_are_refused(write_pairs, oracle, tmp_path):
    path = write_pairs(tmp_path / "pairs.h5", 4, wavelength=np.arange(4000.0, 8000.0))
    with pytest.raises(InputError, match="pairs: expected 4500 samples"):
        report(oracle, path, tmp_path / "r.html")


def test_neighbours_are_others():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((50, 6))
    points[7] = points[3]  # exact copies
    found = neighbours(points, points, 5, itself=True)
    assert found.shape == (50, 5)
    assert not (found == np.arange(50)[:, None]).any()
    assert found[7, 0] == 3
    assert neighbours(points[:2] + 1e-6, points, 1)[:, 0].tolist() == [0, 1]


def test_crossed_answers_come_from_others():
    """A model that remembers what it saw is right only where copies are in other parts."""
    x = np.arange(100.0)[:, None]

    def remember(features, target):
        known = dict(zip(features[:, 0], target, strict=True))
        return lambda new: np.array([known.get(v, -1.0) for v in new[:, 0]])

    assert (crossed(remember, x, x[:, 0]) == -1).all()
    assert np.isnan(crossed(remember, x[:10], x[:10, 0])).all()  # too few to learn from


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["pairs"], "files: expected one pairs file, got 0"),
        (["nothing.h5", "--report", "r.html"], "what: expected pairs, images, card, photometry"),
        (["{pairs}", "--subsets", "a"], "expected --report or -o with them, got neither"),
        (["{pairs}", "--report", "r.pdf"], "expected a file name ending in .html"),
        (["{pairs}", "--report", "{pairs}"], "expected a file name ending in .html"),
        (["{pairs}", "-o", "{pairs}"], "--output: expected a folder, got the file"),
        (["{pairs}", "-o", "none/folder"], "--output: the folder .*none does not exist"),
        (["images", "{pairs}", "--report", "r.html"], "expected pairs, got images"),
    ],
)
def test_command_line_refuses_before_it_works(
    given, message, pairs_path, tmp_path, monkeypatch, capsys
):
    import re

    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *(text.format(pairs=pairs_path) for text in given)]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_command_line_writes_tables_and_figures(tiny_weights, pairs_path, tmp_path, capsys):
    given = ["evaluate", "pairs", str(pairs_path), "-o", str(tmp_path / "out"), "--quiet"]
    given += ["--weights", str(tiny_weights), "--n-candidates", "2", "--n-measured", "3"]
    given += ["-n", "12", "--n-set", "1"]
    assert main(given) == 0
    assert "redshift, best candidate" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").is_file()
    assert len(list((tmp_path / "out").glob("*.ecsv"))) > 20
    assert len(list((tmp_path / "out").glob("*.pdf"))) > 10
    assert main(given) == 2
    assert "exists already" in capsys.readouterr().err
