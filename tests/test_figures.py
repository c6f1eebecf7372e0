"""Figures: colours where they belong, lines at the redshift, pages that hold all galaxies."""

import numpy as np
import pytest
from astropy.nddata import NDData
from astropy.table import QTable
from matplotlib.figure import Figure

from photospec.figures import (
    GalaxyRow,
    galaxy_figures,
    galaxy_rows,
    plot_spectrum,
    rgb_image,
    save_figure,
)
from photospec.lines import LINES
from photospec.spectrum import FLUX_UNIT, WAVELENGTH, from_arrays

FLUX = np.linspace(1, 3, WAVELENGTH.size)


def blob(bands, bright):
    """An image whose centre is bright in one band."""
    y, x = np.mgrid[:32, :32] - 16
    data = np.random.default_rng(0).normal(0, 0.01, (len(bands), 32, 32))
    data[bands.index(bright)] += np.exp(-(x**2 + y**2) / 20)
    return NDData(data, meta={"bands": tuple(bands)})


@pytest.mark.parametrize(("band", "channel"), [("i", 0), ("r", 1), ("g", 2)])
@pytest.mark.parametrize("bands", ["ugriz", "zirgu"])
def test_bands_become_colours_by_name(band, channel, bands):
    center = rgb_image(blob(bands, band))[16, 16].astype(int)
    assert center.argmax() == channel
    assert center[channel] > 2 * np.delete(center, channel).max()


def test_picture_is_not_flipped_and_survives_bad_pixels():
    image = blob("grz", "z")
    image.data[:, :, 0] = np.nan
    image.data[2] += 5 * (np.indices((32, 32)) == np.array([30, 2])[:, None, None]).all(axis=0)
    picture = rgb_image(image)
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    assert picture[30, 2, 0] > picture[2, 30, 0] + 50


def axes_with(**kwargs):
    axes = Figure().add_subplot()
    plot_spectrum(axes, WAVELENGTH, FLUX, **kwargs)
    return axes


def test_spectrum_is_drawn_and_lines_are_marked_where_they_are_observed():
    axes = axes_with(redshift=0.1)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), FLUX)
    marked = {text.get_text(): text.xy[0] for text in axes.texts}
    assert marked[LINES["halpha"].label] == pytest.approx(6564.614 * 1.1)
    assert marked[LINES["ca_k"].label] == pytest.approx(3934.777 * 1.1)
    assert all(4000 < position < 8500 for position in marked.values())


@pytest.mark.parametrize("redshift", [None, np.nan])
def test_no_redshift_marks_no_lines(redshift):
    assert not axes_with(redshift=redshift).texts


def test_truth_is_drawn_under_the_spectrum():
    axes = axes_with(truth=2 * FLUX)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), 2 * FLUX)
    assert axes.get_ylim()[1] > 6


def test_titles_say_what_was_found_and_what_not():
    table = QTable({"image": ["a/b.fits", "c.fits"], "redshift": np.ma.array([0.1, 0.2])})
    table["redshift"].mask = [False, True]
    table["bpt_class"] = ["STAR_FORMING", "LINER"]
    first, second = galaxy_rows(from_arrays(WAVELENGTH, np.stack([FLUX, 2 * FLUX])), table)
    assert first.title == "b.fits   z = 0.1000   star forming"
    assert second.title == "c.fits   no redshift   liner"
    assert np.isnan(second.redshift)
    np.testing.assert_array_equal(second.flux, 2 * FLUX)


def test_titles_tell_the_error_of_a_prediction_from_that_of_a_measurement():
    table = QTable({"redshift": [0.12953] * 2, "redshift_error": [0.014, 0.00001]})
    table["n_candidates"] = [8, 1]
    first, second = galaxy_rows(from_arrays(WAVELENGTH, np.stack([FLUX, FLUX])), table)
    assert first.title == "z = 0.1295 ± 0.0140"
    assert second.title == "z = 0.12953 ± 0.00001 (measurement only)"


def test_titles_have_the_class_with_its_probability_and_the_flags():
    table = QTable({"redshift": [0.1], "redshift_error": [1e-7], "bpt_class": ["LINER"]})
    table["bpt_class_probability"] = [0.625]
    table["image_flags"] = ["out_of_distribution; masked_core"]
    (row,) = galaxy_rows(from_arrays(WAVELENGTH, FLUX), table)
    expected = "z = 0.10000 ± <0.00001   liner (62%)   [out of distribution, masked core]"
    assert row.title == expected


def test_long_titles_are_broken_between_their_parts():
    parts = ["a long name of a file.fits", "z = 0.1 ± 0.01", "Dn4000 = 1.5", "[" + 50 * "x" + "]"]
    rows = [GalaxyRow(WAVELENGTH, FLUX, title="   ".join(parts))]
    (figure,) = galaxy_figures(rows)
    title = figure.axes[0].get_title(loc="left")
    assert title.split("\n") == ["   ".join(parts[:3]), parts[3]]


def test_the_spread_of_the_candidates_is_drawn_with_a_legend():
    spectra = from_arrays(WAVELENGTH, FLUX, meta={"spread": 0.5 * FLUX * FLUX_UNIT})
    (row,) = galaxy_rows(spectra, QTable({"redshift": [0.1]}))
    np.testing.assert_allclose(row.spread, 0.5 * FLUX)
    (figure,) = galaxy_figures([row])
    (axes,) = figure.axes
    (band,) = axes.collections
    edges = band.get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(0.5 * FLUX.min(), rel=1e-2)
    assert edges.max() == pytest.approx(1.5 * FLUX.max(), rel=1e-2)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "± 1 σ of the candidates" in texts
    assert axes.get_ylim()[1] > edges.max()


def test_the_legend_lies_below_the_spectrum():
    """Emission lines make a spectrum flat and low in its axes, where a legend would hide it."""
    flux = FLUX / 3 + 20 * np.exp(-0.5 * ((WAVELENGTH - 7200) / 5) ** 2)
    rows = [GalaxyRow(WAVELENGTH, flux, truth=1.1 * flux, spread=0.01 * flux)] * 8
    for n in (1, 8):
        (figure,) = galaxy_figures(rows[:n])
        figure.draw_without_rendering()
        for axes in figure.axes:
            box = axes.get_legend().get_window_extent()
            lowest = axes.transData.transform([[4000, flux.min()]])[0, 1]
            assert box.y1 < lowest
            assert box.x0 > axes.get_window_extent().x0


def test_each_spectrum_says_its_axes_beside_itself():
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    (figure,) = galaxy_figures([GalaxyRow(WAVELENGTH, FLUX, picture=picture)] * 2)
    figure.draw_without_rendering()
    (left, first), (_, last) = figure.axes[:2], figure.axes[2:]
    for axes in (first, last):
        label = axes.yaxis.label.get_window_extent()
        assert label.x0 > left.get_window_extent().x1
        assert label.height < axes.get_window_extent().height
    assert not first.get_xlabel()
    assert last.get_xlabel() == "Observed wavelength in vacuum [Å]"


def test_noise_does_not_rule_the_axes_and_lines_do():
    rng = np.random.default_rng(1)
    noisy = FLUX + rng.normal(0, 0.1, FLUX.size)
    noisy[4300:] += rng.normal(0, 20, 200)  # residuals of the sky
    noisy[2000:2010] += 8  # a line
    for sigma in (None, np.where(np.arange(FLUX.size) < 4300, 0.1, 20)):
        axes = Figure().add_subplot()
        plot_spectrum(axes, WAVELENGTH, noisy, sigma=sigma)
        low, high = axes.get_ylim()
        assert 9 < high < 16
        assert -4 < low <= 0


@pytest.mark.parametrize(
    ("n", "paged", "n_figures"), [(1, False, 1), (13, True, 3), (13, False, 1)]
)
def test_every_galaxy_has_its_place(n, paged, n_figures):
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    rows = [GalaxyRow(WAVELENGTH, FLUX, title=f"galaxy {i}", picture=picture) for i in range(n)]
    figures = galaxy_figures(rows, paged=paged)
    assert len(figures) == n_figures
    titles = [axes.get_title(loc="left") for figure in figures for axes in figure.axes]
    assert [title for title in titles if title] == [row.title for row in rows]
    boxes = [tuple(axes.get_subplotspec().num1 for axes in figure.axes) for figure in figures]
    assert all(len(set(box)) == len(box) for box in boxes)


def test_pages_need_a_format_with_pages(tmp_path):
    with pytest.raises(ValueError, match=r"expected a \.pdf for 2 pages"):
        save_figure([Figure(), Figure()], tmp_path / "f.png")
