"""Line wavelengths against physics and the SDSS table."""

import numpy as np
import pytest
from astropy.io import fits

from photospec.lines import ABSORPTION, BALMER, EMISSION, LINES
from photospec.spectrum.wavelengths import air_to_vacuum
from photospec.stellar_grids import nebular_grid

# Upper level of each Balmer line.
LEVELS = {
    "halpha": 3, "hbeta": 4, "hgamma": 5, "hdelta": 6,
    "h_epsilon": 7, "h_zeta": 8, "h_eta": 9, "h_theta": 10,
}  # fmt: skip


def test_balmer_lines_follow_rydberg():
    assert set(BALMER) == set(LEVELS)
    for name, level in LEVELS.items():
        rydberg = 1e8 / (109677.5834 * (1 / 4 - 1 / level**2))
        # fine structure: one part in 10^5
        assert LINES[name].wavelength == pytest.approx(rydberg, rel=2e-5)


@pytest.mark.parametrize(
    ("name", "air"),
    [("oii_3726", 3726.03), ("oii_3729", 3728.82), ("oiii_4959", 4958.91), ("oiii_5007", 5006.84),
     ("oi_6300", 6300.30), ("nii_6548", 6548.05), ("nii_6584", 6583.45), ("sii_6716", 6716.44),
     ("sii_6731", 6730.82), ("ca_k", 3933.66), ("na_d2", 5889.95), ("ca_8544", 8542.09)],
)  # fmt: skip
def test_air_wavelengths_in_common_use(name, air):
    assert LINES[name].wavelength == pytest.approx(float(air_to_vacuum(air)), abs=0.03)


def test_table():
    assert set(EMISSION) | set(ABSORPTION) == set(LINES)
    assert [LINES[name].name for name in LINES] == list(LINES)
    order = [LINES[name].wavelength for name in EMISSION]
    assert order.index(max(order)) == len(order) - 1
    with pytest.raises(TypeError):
        LINES["new"] = 1
    with pytest.raises(AttributeError):
        LINES["halpha"].wavelength = 1


def test_same_lines_in_the_nebular_grid():
    grid = nebular_grid((3000.0, 3100.0))
    named = {line.name for line in LINES.values() if line.cloudy}
    assert named <= set(grid.line_names)
    assert len(set(grid.line_names)) == len(grid.line_names)


def test_sdss_uses_the_same_wavelengths(shared):
    path = min((shared / "real" / "spectra").glob("spec-0266*.fits"))
    with fits.open(path) as hdus:
        theirs = hdus["SPZLINE"].data["LINEWAVE"].astype(float)
    ours = np.array([LINES[name].wavelength for name in EMISSION])
    strong = ("oii_3726", "hbeta", "oiii_4959", "oiii_5007", "halpha", "nii_6584", "sii_6716")
    for name in strong:
        assert np.abs(theirs - LINES[name].wavelength).min() < 0.15
    inside = theirs[(theirs > 3700) & (theirs < 7200)]
    assert np.mean(np.abs(inside[:, None] - ours).min(axis=1) < 0.3) > 0.8
