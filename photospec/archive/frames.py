"""One SDSS corrected frame: nanomaggies, world coordinates, and the noise of each pixel.

The frame file holds what is needed to go back to counts (data model of ``frame`` files):
a calibration vector, nanomaggies per count for each column, and the sky that was taken off,
on a coarse grid. With gain g and dark variance D of the chip, the variance of a pixel that
holds n counts, sky included, is n / g + D.
"""

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates

from photospec.archive.transfer import FileRefused
from photospec.archive.verify import expect, open_verified

__all__ = ["Frame", "chip_noise", "read_frame"]

# Electrons per count and dark variance in counts squared, for camera columns 1 to 6; pairs
# are (before, after) the run where the value changed: 1100 for the gain, 1500 for the dark.
_GAIN = {
    "u": (1.62, (1.595, 1.825), 1.59, 1.6, 1.47, 2.17),
    "g": (3.32, 3.855, 3.845, 3.995, 4.05, 4.035),
    "r": (4.71, 4.6, 4.72, 4.76, 4.725, 4.895),
    "i": (5.165, 6.565, 4.86, 4.885, 4.64, 4.76),
    "z": (4.745, 5.155, 4.885, 4.775, 3.48, 4.69),
}
_DARK = {
    "u": (9.61, 12.6025, 8.7025, 12.6025, 9.3025, 7.0225),
    "g": (15.6025, 1.44, 1.3225, 1.96, 1.1025, 1.8225),
    "r": (1.8225, 1.0, 1.3225, 1.3225, 0.81, 0.9025),
    "i": (7.84, (5.76, 6.25), 4.6225, (6.25, 7.5625), 7.84, 5.0625),
    "z": (0.81, 1.0, 1.0, (9.61, 12.6025), (1.8225, 2.1025), 1.21),
}


def chip_noise(band, camcol, run):
    """Return gain and dark variance of one chip of the SDSS camera.

    Parameters
    ----------
    band : str
        One of u, g, r, i, z.
    camcol : int
        Camera column, 1 to 6.
    run : int
        Imaging run; electronics changed at some.

    Returns
    -------
    gain, dark_variance : float
        Electrons per count; counts squared.
    """
    values = []
    for table, changed in ((_GAIN, 1100), (_DARK, 1500)):
        value = table[band][camcol - 1]
        values.append(value[run > changed] if isinstance(value, tuple) else value)
    return tuple(values)


@dataclass(frozen=True, eq=False)
class Frame:
    """A corrected frame in memory.

    Attributes
    ----------
    band : str
        Its filter.
    data : ndarray (ny, nx)
        Sky-subtracted, nanomaggies.
    wcs : WCS
        World coordinates.
    calibration : ndarray (nx,)
        Nanomaggies per count.
    sky, sky_x, sky_y : ndarray
        Sky on a coarse grid (counts), and where each column and row lies on that grid.
    gain, dark_variance : float
        See `chip_noise`.
    date : str
        Date of observation.
    """

    band: str
    data: np.ndarray
    wcs: WCS
    calibration: np.ndarray
    sky: np.ndarray
    sky_x: np.ndarray
    sky_y: np.ndarray
    gain: float
    dark_variance: float
    date: str

    def box(self, x0, x1, y0, y1):
        """Return data and noise in a box; NaN where the box leaves the frame.

        Parameters
        ----------
        x0, x1, y0, y1 : int
            Pixels from x0 up to, not including, x1.

        Returns
        -------
        data, sigma : ndarray (y1 - y0, x1 - x0)
            Nanomaggies, and their standard deviation.
        """
        shape = (y1 - y0, x1 - x0)
        data, sigma = np.full(shape, np.nan), np.full(shape, np.nan)
        ny, nx = self.data.shape
        xs, ys = slice(max(x0, 0), min(x1, nx)), slice(max(y0, 0), min(y1, ny))
        if xs.start >= xs.stop or ys.start >= ys.stop:
            return data, sigma
        place = (slice(ys.start - y0, ys.stop - y0), slice(xs.start - x0, xs.stop - x0))
        data[place] = self.data[ys, xs]
        calibration = self.calibration[xs].astype(float)
        grid = np.meshgrid(self.sky_y[ys], self.sky_x[xs], indexing="ij")
        sky = map_coordinates(self.sky, grid, order=1, mode="nearest")
        counts = data[place] / calibration + sky
        variance = np.maximum(counts, 0.0) / self.gain + self.dark_variance
        sigma[place] = np.sqrt(variance) * calibration
        return data, sigma


def _wcs(header):
    """World coordinates without the repairs (and warnings) that frame headers call for."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [header["CTYPE1"], header["CTYPE2"]]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crpix = [header["CRPIX1"], header["CRPIX2"]]
    wcs.wcs.crval = [header["CRVAL1"], header["CRVAL2"]]
    wcs.wcs.cd = [[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]]
    wcs.wcs.radesys = "ICRS"  # of the data releases since 9; the headers say RADECSYS
    wcs.wcs.set()
    return wcs


def read_frame(path, band, run, camcol, field):
    """Read and check a frame.

    Parameters
    ----------
    path : Path
        The file, bzip2 or plain.
    band : str
        Expected filter.
    run, camcol, field : int
        Expected place in the survey.

    Returns
    -------
    frame : Frame
        The frame.
    proven : bool
        Whether a checksum inside vouches for its bytes.

    Raises
    ------
    FileRefused
        The file is damaged or another one inside.
    """
    with open_verified(path) as (hdus, proven):
        header = hdus[0].header
        expect(header, path, RUN=run, CAMCOL=camcol, FILTER=band)
        try:
            # FRAME in the header is no help: the chips of a column see a field one after
            # another, and it counts their own frames. The astrometry table has the field.
            expect({"FIELD": int(hdus[3].data["FIELD"][0])}, path, FIELD=field)
            sky = hdus[2].data[0]
            frame = Frame(
                band,
                hdus[0].data,
                _wcs(header),
                np.array(hdus[1].data, dtype=float),
                np.atleast_2d(np.array(sky["ALLSKY"], dtype=float)),
                np.array(sky["XINTERP"], dtype=float),
                np.array(sky["YINTERP"], dtype=float),
                *chip_noise(band, camcol, run),
                header.get("DATE-OBS", ""),
            )
            ny, nx = frame.data.shape
            whole = frame.calibration.shape == frame.sky_x.shape == (nx,)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError):
            whole = False
        if not (whole and frame.sky_y.shape == (ny,) and frame.wcs.has_celestial):
            raise FileRefused("no SDSS frame: image, calibration, sky or coordinates are missing")
    return frame, proven
