"""Candidates as one row, on tables made by hand."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked

from photospec.analysis import combine_candidates, measure_candidates, measure_properties
from photospec.errors import InputError
from photospec.spectrum import WAVELENGTH, from_arrays, to_arrays


def masked(values):
    """NaN is what could not be measured."""
    return MaskedColumn(values, mask=np.isnan(values))


def table_of(redshift, *, redshift_error=0.0, age=None, age_error=0.3, bpt=None, flags=None):
    n = len(redshift)
    table = QTable({"redshift": masked(np.array(redshift, float))})
    table["redshift_error"] = masked(np.full(n, redshift_error))
    age = np.full(n, 5.0) if age is None else np.array(age, float)
    error = np.where(np.isnan(age), np.nan, age_error)
    table["age_light_weighted"] = Masked(age * u.Gyr, mask=np.isnan(age))
    table["age_light_weighted_error"] = Masked(error * u.Gyr, mask=np.isnan(error))
    bpt = ["LINER"] * n if bpt is None else bpt
    table["bpt_class"] = MaskedColumn(bpt, mask=[not name for name in bpt], dtype="U12")
    table["flags"] = [""] * n if flags is None else flags
    return table


# Definition 8 of Hyndman & Fan at p of n sorted values: place p (n + 1/3) + 1/3, from one.
# Of 0, 1, 2 ... the range from 0.16 to 0.84 is 0.68 (n + 1/3) wide.
@pytest.mark.parametrize("n", [4, 8, 25])
def test_errors_hold_half_the_range_of_the_candidates(n):
    values = np.random.default_rng(0).permutation(n).astype(float)
    row = combine_candidates(table_of(values, redshift_error=2.0), 1)
    assert len(row) == 1
    assert row["redshift"][0] == values[1]
    assert row["redshift_error"][0] == pytest.approx(np.hypot(2, 0.34 * (n + 1 / 3)))
    assert row["age_light_weighted_error"][0].unmasked == 0.3 * u.Gyr  # nothing is added
    assert row["n_candidates"][0] == n
    assert row["flags"][0] == f"errors from {n} candidates"


def test_eight_normal_candidates_give_their_sigma():
    values = np.random.default_rng(1).normal(0.1, 0.014, (3000, 8)).ravel()
    rows = combine_candidates(table_of(values), np.zeros(3000, int))
    assert np.mean(rows["redshift_error"]) == pytest.approx(0.014 * 1.043, rel=0.03)


def test_units_and_masks_stay():
    row = combine_candidates(table_of([0.1] * 3, age=[1, 2, 3]), 0)
    assert row["age_light_weighted"][0].unmasked == 1 * u.Gyr
    # With three, the 16th and the 84th percentile are the smallest and the largest.
    expected = np.hypot(0.3, 1)
    assert row["age_light_weighted_error"][0].unmasked.to_value("Gyr") == pytest.approx(expected)
    assert row["age_light_weighted_error"].unit == u.Gyr


def test_unmeasured_candidates_do_not_count_and_too_few_give_no_error():
    nan = np.nan
    three = combine_candidates(table_of([0.1] * 5, age=[nan, 2, 3, nan, 4]), 2)
    expected = np.hypot(0.3, 1)
    assert three["age_light_weighted_error"][0].unmasked.to_value("Gyr") == pytest.approx(expected)
    two = combine_candidates(table_of([0.1] * 5, age=[nan, 2, 3, nan, nan], flags=["odd"] * 5), 2)
    assert two["age_light_weighted"][0].unmasked == 3 * u.Gyr
    assert two["age_light_weighted_error"].mask[0]
    assert not two["redshift_error"].mask[0]
    assert two["flags"][0] == (
        "odd; age_light_weighted: no error, fewer than 3 candidates have it; "
        "errors from 5 candidates"
    )
    # What the one that stands for all does not have, the others do not give it.
    none = combine_candidates(table_of([0.1] * 5, age=[nan, 2, 3, 4, 5]), 0)
    assert none["age_light_weighted"].mask[0]
    assert none["age_light_weighted_error"].mask[0]
    assert "no error" not in none["flags"][0]


def test_a_given_redshift_has_no_error():
    row = combine_candidates(table_of([0.1] * 4, redshift_error=np.nan), 0)
    assert row["redshift_error"].mask[0]
    assert (
        combine_candidates(table_of([1, 2, 3], redshift_error=np.nan), 0)["redshift_error"][0] == 1
    )


@pytest.mark.parametrize(("n", "word"), [(1, "one candidate: errors are of the measurement only"),
                                         (2, "2 candidates: too few for errors")])  # fmt: skip
def test_one_or_two_candidates(n, word):
    row = combine_candidates(table_of([0.1, 0.2][:n], redshift_error=1e-5), 0)
    assert row["flags"][0] == word
    assert row["redshift_error"].mask[0] == (n == 2)
    assert row["bpt_class_probability"].mask[0]
    if n == 1:
        assert row["redshift_error"][0] == 1e-5
        assert row["n_candidates"][0] == 1


def test_class_and_its_probability():
    classes = ["LINER", "SEYFERT", "LINER", "", "LINER"]
    row = combine_candidates(table_of([0.1] * 5, bpt=classes), 0)
    assert row["bpt_class"][0] == "LINER"
    assert row["bpt_class_probability"][0] == 0.75
    assert combine_candidates(table_of([0.1] * 5, bpt=classes), 1)["bpt_class_probability"] == 0.25
    unknown = combine_candidates(table_of([0.1] * 5, bpt=classes), 3)
    assert unknown["bpt_class"].mask[0]
    assert unknown["bpt_class_probability"].mask[0]
    few = combine_candidates(table_of([0.1] * 5, bpt=["LINER", "LINER", "", "", ""]), 0)
    assert few["bpt_class_probability"].mask[0]
    names = row.colnames
    assert names.index("bpt_class_probability") == names.index("bpt_class") + 1


def with_lines(table, oiii):
    """Candidates with [N II]/Halpha of 0.4, Halpha/Hbeta of 3 and given [O III]/Hbeta."""
    n = len(table)
    for name, flux in (("halpha", 3.0), ("hbeta", 1.0), ("nii_6584", 1.2)):
        table[f"{name}_flux"] = masked(np.full(n, flux))
    table["oiii_5007_flux"] = masked(np.asarray(oiii, float))
    return table


def test_an_agn_is_told_by_the_mean_of_all_candidates():
    oiii = [0.5, 10, 10, 10, np.nan]
    table = with_lines(table_of([0.1] * 5), oiii)
    height = np.log10(oiii[:4]) - (0.7 - 1.2 * (np.log10(0.4) + 0.4))
    assert height[0] < 0 < height[1]
    row = combine_candidates(table, 0, agn_threshold=-0.1)
    assert row["agn_score"][0] == pytest.approx(height.mean())
    assert row["agn"][0]
    assert not combine_candidates(table, 0, agn_threshold=0.0)["agn"][0]
    assert "agn" not in combine_candidates(table, 0).colnames
    # Lines that are not there, or negative, make no ratio; two ratios are too few.
    few = combine_candidates(with_lines(table_of([0.1] * 5), [1, 1, -1, 0, np.nan]), 0,
                             agn_threshold=0.1)  # fmt: skip
    assert few["agn_score"].mask[0]
    assert few["agn"].mask[0]
    # One absurd ratio counts no more than two dex.
    faint = with_lines(table_of([0.1] * 3), [1e-9, 10, 10])
    expected = (2 * height[1] - 2) / 3
    assert combine_candidates(faint, 0)["agn_score"][0] == pytest.approx(expected)
    assert "agn_score" not in combine_candidates(table_of([0.1] * 3), 0).colnames


def test_the_image_decides_where_it_says_something():
    table = table_of([0.1] * 6)
    row = combine_candidates(
        table, [0, 1], agn_threshold=0.5, agn_score=[1.0, np.nan], agn_probability=[0.4, np.nan]
    )
    assert row["agn_score"][0] == 1
    assert row["agn"][0]
    assert row["agn_probability"][0] == 0.4
    for name in ("agn_score", "agn", "agn_probability"):
        assert row[name].mask.tolist() == [False, True]


def test_galaxies_together_as_alone(tmp_path):
    rng = np.random.default_rng(3)
    tables = []
    for _ in range(3):
        age = np.where(rng.random(6) < 0.3, np.nan, rng.uniform(1, 9, 6))
        bpt = list(rng.choice(["", "LINER", "SEYFERT"], 6))
        tables.append(table_of(rng.uniform(0, 1, 6), redshift_error=0.1, age=age, bpt=bpt))
    best = [4, 0, 5]
    from astropy.table import vstack

    together = combine_candidates(vstack(tables), best)
    together.write(tmp_path / "t.ecsv")
    together = QTable.read(tmp_path / "t.ecsv")
    for row, table, index in zip(together, tables, best, strict=True):
        alone = combine_candidates(table, index)[0]
        for name in together.colnames:
            assert str(row[name]) == str(alone[name]), name


@pytest.mark.parametrize(
    ("n", "best", "message"),
    [
        (3, 3, "best_index: expected whole numbers from 0 to 2, got"),
        (3, -1, "best_index"),
        (3, 0.5, "best_index"),
        (3, [0, 0], "table: expected equally many candidates of 2 galaxies, got 3 rows"),
        (3, [], "of 0 galaxies"),
        (0, 0, "of 1 galaxies, got 0 rows"),
    ],
)
def test_bad_arguments(n, best, message):
    with pytest.raises(InputError, match=message):
        combine_candidates(table_of([0.1] * n), best)


def test_other_tables_are_refused():
    with pytest.raises(InputError, match="got no column bpt_class"):
        combine_candidates(QTable({"redshift": [0.1], "flags": [""]}), 0)


def test_spectra_of_one_galaxy_that_differ_in_redshift(make_galaxy):
    """The error is that of the candidates, not that of a measurement without noise."""
    flux = [make_galaxy(z, wavelength=WAVELENGTH).flux.value for z in (0.09, 0.1, 0.11)]
    spectra = from_arrays(WAVELENGTH, np.array(flux), lsf=2.0)
    each = measure_properties(spectra)
    row = measure_candidates(spectra, 1)
    for name in ("redshift", "dn4000", "halpha_flux", "velocity_dispersion"):
        assert row[name][0] == each[name][1]
    assert each["redshift_error"][1] < 0.001
    assert row["redshift_error"][0] == pytest.approx(0.01, rel=0.02)
    assert to_arrays(spectra).flux.shape == (3, 4500)
    assert row["flags"][0].endswith("errors from 3 candidates")
