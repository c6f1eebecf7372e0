"""One SDSS corrected frame in memory, from which many galaxies are cut.

`photospec.image.read_image` cuts one galaxy out of files; a download has thousands of frames
with several galaxies on each and many threads at work, so a frame is read once, checked on
the way, and kept while its galaxies are cut.
"""

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from photospec.archive.transfer import FileRefused
from photospec.archive.verify import expect, open_verified
from photospec.image.frame_noise import frame_variance

__all__ = ["Frame", "read_frame"]


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
    hdus : HDUList
        The file, for the noise.
    date : str
        Date of observation.
    """

    band: str
    data: np.ndarray
    wcs: WCS
    hdus: object
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
        sigma[place] = np.sqrt(frame_variance(data[place], self.hdus, (ys, xs)))
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
            frame = Frame(band, hdus[0].data, _wcs(header), hdus, header.get("DATE-OBS", ""))
            ny, nx = frame.data.shape
            last = (slice(ny - 1, ny), slice(nx - 1, nx))
            whole = frame_variance(frame.data[last], hdus, last).shape == (1, 1)
            whole &= hdus[1].data.shape == (nx,)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError):
            whole = False
        if not whole:
            raise FileRefused("no SDSS frame: image, calibration, sky or coordinates are missing")
    return frame, proven
