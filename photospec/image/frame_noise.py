"""Noise of SDSS corrected frames, from what the frames themselves carry.

The recipe and both tables are those of the SDSS data model (page "frame"): undo
calibration and sky subtraction to get back counts; photon noise and dark variance add.
"""

import numpy as np
from scipy.ndimage import map_coordinates

__all__ = ["frame_variance"]

# Electrons per count by camera column; u of column 2 changed at run 1100.
_GAIN = {
    "u": (1.62, 1.595, 1.59, 1.6, 1.47, 2.17),
    "g": (3.32, 3.855, 3.845, 3.995, 4.05, 4.035),
    "r": (4.71, 4.6, 4.72, 4.76, 4.725, 4.895),
    "i": (5.165, 6.565, 4.86, 4.885, 4.64, 4.76),
    "z": (4.745, 5.155, 4.885, 4.775, 3.48, 4.69),
}
# Counts squared; some changed at run 1500.
_DARK_VARIANCE = {
    "u": (9.61, 12.6025, 8.7025, 12.6025, 9.3025, 7.0225),
    "g": (15.6025, 1.44, 1.3225, 1.96, 1.1025, 1.8225),
    "r": (1.8225, 1.0, 1.3225, 1.3225, 0.81, 0.9025),
    "i": (7.84, 5.76, 4.6225, 6.25, 7.84, 5.0625),
    "z": (0.81, 1.0, 1.0, 9.61, 1.8225, 1.21),
}
_NEW_GAIN = {("u", 2): 1.825}
_NEW_DARK_VARIANCE = {("i", 2): 6.25, ("i", 4): 7.5625, ("z", 4): 12.6025, ("z", 5): 2.1025}


def frame_variance(image, hdus, box):
    """Variance per pixel of a part of an SDSS frame.

    Parameters
    ----------
    image : ndarray (ny, nx)
        The part, nanomaggies.
    hdus : HDUList
        The frame: calibration vector in extension 1, sky in extension 2.
    box : tuple of slice
        Where the part lies in the frame, (y, x).

    Returns
    -------
    ndarray (ny, nx) or None
        Nanomaggies squared; None when the file is no complete SDSS frame.
    """
    header = hdus[0].header
    band, column, run = header.get("FILTER"), header.get("CAMCOL"), header.get("RUN")
    try:
        gain = _GAIN[band.strip()][int(column) - 1]
        dark = _DARK_VARIANCE[band.strip()][int(column) - 1]
        calibration = np.asarray(hdus[1].data, dtype=float)[box[1]]
        sky_table = hdus[2].data[0]
        sky = np.asarray(sky_table["ALLSKY"], dtype=float)
        y = np.asarray(sky_table["YINTERP"], dtype=float)[box[0]]
        x = np.asarray(sky_table["XINTERP"], dtype=float)[box[1]]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    if run is not None and run > 1100:
        gain = _NEW_GAIN.get((band.strip(), int(column)), gain)
    if run is not None and run > 1500:
        dark = _NEW_DARK_VARIANCE.get((band.strip(), int(column)), dark)
    sky = map_coordinates(sky, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
    counts = np.maximum(image / calibration + sky, 0)
    return (counts / gain + dark) * calibration**2
