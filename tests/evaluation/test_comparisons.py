"""The comparisons of the published study, each drawn on axes that are given."""

import numpy as np
from matplotlib.figure import Figure

from photospec.evaluation import plot_colour_bimodality


def test_colours_out_of_view_are_counted_and_divide_nothing_by_zero():
    true = np.linspace(0.3, 1.0, 100)
    found = {"half": np.r_[true[:50], np.full(50, 9.0)], "all": true + 9, "none": true * np.nan}
    axes = Figure().subplots()
    plot_colour_bimodality(axes, true, found)
    areas = [np.sum(p.get_data().values * np.diff(p.get_data().edges)) for p in axes.patches]
    np.testing.assert_allclose(areas, [1, 0.5, 0, 0], atol=0.02)
    assert axes.get_xlim()[1] < 1.1
