"""Colours of images and of spectra that were made to have them."""

import numpy as np
import pytest

from photospec.evaluation import compare_colours
from photospec.image import ImageArray
from photospec.spectrum import WAVELENGTH, from_arrays


def test_a_flat_f_nu_source_has_no_colour_and_its_image_has_what_was_put_in():
    flux_per_band = np.array([1.0, 2.0, 4.0, 6.0, 8.0])
    data = np.zeros((5, 64, 64), np.float32)
    data[:, 32, 32] = flux_per_band
    image = ImageArray(data, np.zeros(data.shape, bool), None, tuple("ugriz"), 0.396)
    spectra = from_arrays(WAVELENGTH, (1e7 / WAVELENGTH**2)[None])
    table = compare_colours([image], spectra)
    assert table["spectrum_g_r"][0] == pytest.approx(0.0, abs=0.002)
    assert table["spectrum_r_i"][0] == pytest.approx(0.0, abs=0.002)
    assert table["image_g_r"][0] == pytest.approx(2.5 * np.log10(2), abs=1e-5)
    assert table["image_r_i"][0] == pytest.approx(2.5 * np.log10(1.5), abs=1e-5)
    assert table["image_r"][0] == pytest.approx(22.5 - 2.5 * np.log10(4), abs=1e-5)
    assert table["d_g_r"][0] == pytest.approx(-2.5 * np.log10(2), abs=0.002)
