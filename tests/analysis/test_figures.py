import numpy as np
import pytest
from astropy.table import QTable
from matplotlib.figure import Figure

from photospec.analysis import fit_populations
from photospec.analysis.figures import (
    plot_bpt,
    plot_fit,
    plot_mass_metallicity,
    plot_star_formation_history,
)
from photospec.errors import InputError


@pytest.fixture
def ax():
    return Figure(figsize=(8, 5), layout="constrained").subplots()


@pytest.fixture(scope="module")
def fit(make_galaxy):
    return fit_populations(make_galaxy(0.05, signal_to_noise=20), 0.05)


def _draw(ax):
    ax.figure.savefig("/dev/null", format="png")


def test_fit_shows_residuals_of_the_fit(fit, ax):
    assert plot_fit(fit, ax) is ax
    residual = ax.child_axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(
        residual[fit.fitted], (fit.flux - fit.best_fit)[fit.fitted], rtol=1e-12
    )
    _draw(ax)


@pytest.mark.parametrize("weights", ["mass", "light"])
def test_star_formation_history_sums_to_one(fit, ax, weights):
    assert plot_star_formation_history(fit, ax, weights=weights) is ax
    assert sum(patch.get_height() for patch in ax.patches) == pytest.approx(1)
    _draw(ax)
    with pytest.raises(InputError, match="weights"):
        plot_star_formation_history(fit, ax, weights="area")


@pytest.mark.parametrize("diagram", ["nii", "sii", "oi"])
def test_bpt_draws_points_and_curves(ax, diagram):
    column = f"log_{diagram}_ha"
    table = QTable(
        {column: np.ma.masked_invalid([-0.5, 0.1, np.nan]), "log_oiii_hb": [0.1, 0.8, 0]}
    )
    for name in (column, "log_oiii_hb"):
        table[f"{name}_error"] = [0.1, 0.1, 0.1]
    assert plot_bpt(table, ax, diagram=diagram) is ax
    points = ax.lines[0].get_xydata()
    np.testing.assert_allclose(points[:2], [[-0.5, 0.1], [0.1, 0.8]])
    assert np.isnan(points[2, 0])
    _draw(ax)
    with pytest.raises(InputError, match="diagram"):
        plot_bpt(table, ax, diagram="nev")


def test_mass_metallicity_median(ax):
    mass = np.linspace(9, 11.5, 400)
    assert plot_mass_metallicity(mass, 0.2 * (mass - 10), ax) is ax
    x, y = next(line for line in ax.lines if line.get_label() == "median").get_data()
    np.testing.assert_allclose(y, 0.2 * (np.array(x) - 10), atol=1e-6)
    _draw(ax)
    with pytest.raises(InputError, match="metallicity"):
        plot_mass_metallicity(mass, [0.1], ax)
