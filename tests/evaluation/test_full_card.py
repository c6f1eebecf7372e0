"""The whole card, small: of a spectrograph that knows the truth, beside baselines that cannot."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from photospec.errors import InputError
from photospec.evaluation import Settings, compare_pairs, model_card
from photospec.simulation import Survey, simulate_pairs

pytest.importorskip("sklearn")

SETTINGS = Settings(
    n_galaxies=8,
    n_candidates=4,
    n_measured=3,
    n_set=1,
    n_training_measured=4,
    n_unusual=4,
    redshift_range=(0.02, 0.3),
    skip_last=4,
)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    path = tmp_path_factory.mktemp("training") / "pairs.h5"
    simulate_pairs(64, path, Survey.sdss_main(seed=12), n_processes=1)
    return path


@pytest.fixture
def short(monkeypatch):
    from photospec.training import direct_regression

    settings = replace(direct_regression.SETTINGS["redshift"], n_steps=2, batch_size=8, skip_last=4)
    monkeypatch.setattr(direct_regression, "SETTINGS", {"redshift": settings, "spectrum": settings})


def table(sections, name):
    """Rows of a section by their first column."""
    (section,) = (s for s in sections if s.name == name)
    first = section.columns[0]
    return {row[first]: row for row in section.rows}


@pytest.mark.slow
def test_who_knows_the_truth_wins(make_oracle, pairs_path, training, short, tmp_path):
    oracle = make_oracle(scatter=0.02)
    sections = model_card(
        oracle, pairs_path, [training], tmp_path, settings=SETTINGS, report=lambda text: None
    )
    redshift = table(sections, "redshift")
    assert redshift["best candidate"]["sigma_mad"].value < 1e-3
    assert redshift["nearest neighbour"]["sigma_mad"].value > 1e-3
    assert redshift["best candidate"]["galaxies"] == 8
    spectrum = table(sections, "spectrum")
    best = spectrum["best candidate"]["all (%)"].value
    assert best < spectrum["one candidate, unranked"]["all (%)"].value
    assert best < spectrum["nearest neighbour"]["all (%)"].value
    assert table(sections, "lines")["Hα flux"]["best candidate"].value < 0.1
    scatter = table(sections, "scatter")["Dn4000"]
    assert scatter["best candidate"].value < scatter["truth"].value
    assert set(table(sections, "ood")) > {"quasars", "saturated cores"}
    for name in ("redshift", "agn", "calibration", "ranking", "correlation"):
        assert len(Table.read(tmp_path / f"{name}.ecsv"))
    for name in ("redshifts", "spectra", "properties", "calibration", "ranking"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert "best candidate" in (tmp_path / "card.txt").read_text()

    # A second run draws nothing and finds the same.
    before = oracle.calls
    again = model_card(
        oracle, pairs_path, [training], tmp_path, settings=SETTINGS, report=lambda text: None
    )
    assert oracle.calls == before + 1
    assert str(table(again, "redshift")) == str(table(sections, "redshift"))


def test_no_galaxies_in_the_range(oracle, pairs, training):
    nowhere = replace(SETTINGS, redshift_range=(0.9, 1.0))
    with pytest.raises(InputError, match=r"pairs: expected galaxies at 0.9 < z < 1.0"):
        compare_pairs({"oracle": oracle}, pairs, [training], nowhere)


def test_real_photometry(oracle, training, tmp_path):
    """An oracle that has never seen these galaxies is no better than chance; trees are rows."""
    from photospec.evaluation import photometry_card
    from photospec.evaluation.photometry import PhotometricCatalogue

    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.15, 30)
    r = rng.uniform(16.0, 17.5, 30)
    colours = np.array([1.5, 0.8, 0.35, 0.25]) + 4 * (z[:, None] - 0.1)
    steps = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0], [0, 0, -1, -1]])
    magnitude = r[:, None] + colours @ steps.T
    catalogue = PhotometricCatalogue(10 ** (0.4 * (22.5 - magnitude)), z)
    some = replace(SETTINGS, n_galaxies=5, n_candidates=2)
    section = photometry_card(oracle, catalogue, [training], some, folder=tmp_path)
    rows = {row["redshift from"]: row for row in section.rows}
    assert rows["best candidate"]["galaxies"] == 5
    assert rows["best candidate"]["sigma_mad"].value > 0.005
    assert np.isfinite(rows["trees trained on real photometry"]["sigma_mad"].value)


def test_real_galaxies_come_first(oracle, pairs_path, training, tmp_path, monkeypatch):
    from photospec.evaluation import full_card
    from photospec.evaluation.value import Section

    def stub(spectrograph, galaxies, others, *, seed, title, name):
        return Section(name, f"{title}: {galaxies} against {others}", [{"row": "one"}])

    monkeypatch.setattr(full_card, "real_redshifts", stub)
    told = []
    with pytest.raises(InputError, match="expected galaxies at"):  # of the simulated ones
        model_card(
            oracle,
            pairs_path,
            [training],
            tmp_path,
            real={"main": ("some", "others")},
            settings=replace(SETTINGS, redshift_range=(0.9, 1.0)),
            report=told.append,
        )
    assert len(told) == 1
    assert "real galaxies: main: some against others" in told[0]
    assert (tmp_path / "real_redshift_0.inc").is_file()
