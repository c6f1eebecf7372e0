"""All that is fetched for the galaxies on one field: frames once, spectra, cutouts.

A field has thousands of pixels and several galaxies, and many threads are at work, so a frame
is read once, checked on the way, and kept while its galaxies are cut.
"""

import hashlib
from datetime import UTC, datetime

import numpy as np
from astropy.wcs import WCS

from photospec.archive.sdss.addresses import (
    cutout_path,
    frame_name,
    frame_url,
    spectrum_name,
    spectrum_url,
)
from photospec.archive.transfer import FileRefused, GiveUp, Missing
from photospec.archive.verify import expect, open_verified
from photospec.errors import InputError
from photospec.image import write_image
from photospec.image.frames import Grid, combine, cut, frame_of, frame_variance

__all__ = ["FieldFetcher", "check_spectrum", "read_frame"]

_NEEDED = {"flux", "loglam", "ivar", "and_mask", "wdisp"}


def _wcs(header):
    """Return the world coordinates without the repairs that frame headers call for.

    astropy tells of each repair by a warning, and filters of warnings are shared by all threads.
    """
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
            frame = frame_of(hdus, path, wcs=_wcs(header))
            ny, nx = frame.data.shape
            last = (slice(ny - 1, ny), slice(nx - 1, nx))
            whole = frame_variance(frame.data[last], hdus, last).shape == (1, 1)
            whole &= hdus[1].data.shape == (nx,)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, InputError):
            whole = False
        if not whole:
            raise FileRefused("no SDSS frame: image, calibration, sky or coordinates are missing")
    return frame, proven


def check_spectrum(path, plate, mjd, fiberid):
    """Check that a file is the whole spectrum of one fibre.

    Parameters
    ----------
    path : Path
        The file.
    plate, mjd, fiberid : int
        Expected plate, date and fibre.

    Returns
    -------
    content : None
        Spectra are read again when pairs are made.
    proven : bool
        Whether checksums inside vouch for its bytes.

    Raises
    ------
    FileRefused
        The file is damaged or of another object.
    """
    with open_verified(path) as (hdus, proven):
        expect(hdus[0].header, path, PLATEID=plate, MJD=mjd, FIBERID=fiberid)
        tables = [getattr(hdu, "columns", None) for hdu in hdus[1:3]]
        whole = len(tables) == 2 and all(tables)
        if not (whole and {name.lower() for name in tables[0].names} >= _NEEDED):
            raise FileRefused("no SDSS spectrum: columns flux, loglam, ivar ... are missing")
        loglam = hdus[1].data[_name(hdus[1], "loglam")]
        if not np.all(np.diff(loglam) > 0):
            raise FileRefused("damaged spectrum: its wavelengths do not increase")
        row = {name.upper(): hdus[2].data[name][0] for name in hdus[2].columns.names}
        inside = {name: row.get(name) for name in ("PLATE", "MJD", "FIBERID")}
        expect(inside, path, PLATE=plate, MJD=mjd, FIBERID=fiberid)
    return None, proven


def _name(hdu, wanted):
    return next(name for name in hdu.columns.names if name.lower() == wanted)


class FieldFetcher:
    """Fetches fields; many threads may call it at once.

    Parameters
    ----------
    config : DownloadConfig
        Settings.
    folder : Path
        The download folder.
    client : Client
        Fetches files.
    store : Store
        Keeps the manifest.
    """

    def __init__(self, config, folder, client, store):
        self.config = config
        self.folder = folder
        self.client = client
        self.store = store

    def __call__(self, run, rerun, camcol, field):
        """Fetch what the pending galaxies of one field need.

        Parameters
        ----------
        run, rerun, camcol, field : int
            The field.

        Returns
        -------
        list of (int, str, str)
            Identifier, new state ('done', 'failed', 'later') and reason for each galaxy.
        """
        rows = self.store.pending(run, rerun, camcol, field)
        outcome = {row["specobjid"]: ("done", "") for row in rows}
        wanted = [row for row in rows if not cutout_path(self.folder, row).exists()]
        if wanted:
            try:
                outcome.update(self._cutouts(wanted, run, rerun, camcol, field))
            except Missing as error:
                outcome.update({row["specobjid"]: ("failed", str(error)) for row in wanted})
            except GiveUp as error:
                outcome.update({row["specobjid"]: ("later", str(error)) for row in wanted})
        for row in rows:
            if outcome[row["specobjid"]][0] == "done":
                outcome[row["specobjid"]] = self._spectrum(row)
        return [(identifier, *state) for identifier, state in outcome.items()]

    def clear(self, run, rerun, camcol, field):
        """Remove the frames of a field that is finished, unless they are to be kept."""
        if self.config.keep_frames:
            return
        for band in self.config.bands:
            path = self.folder / frame_name(run, camcol, field, band)
            if path.exists():
                path.unlink()
                url = frame_url(self.config.release, run, rerun, camcol, field, band)
                self.store.set_file_state(url, "removed")

    def _cutouts(self, rows, run, rerun, camcol, field):
        """Cut the galaxies out of each frame in turn: one frame in memory at a time."""
        place = (run, rerun, camcol, field)
        reference = self._frame("r", *place)
        grids, outcome = {}, {}
        for row in rows:
            grid = Grid.around(reference.wcs, row["ra"], row["dec"], self.config.size)
            off = grid.outside(reference.data.shape)
            if off > 0:
                name = frame_name(run, camcol, field, "r").name
                outcome[row["specobjid"]] = (
                    "failed",
                    f"position is {off:.0f} pixels off {name}: catalogue and field disagree",
                )
            else:
                grids[row["specobjid"]] = grid
        pieces = {key: {} for key in grids}
        for band in self.config.bands:
            frame = reference if band == "r" else self._frame(band, *place)
            for key, grid in grids.items():
                pieces[key][band] = cut(frame, reference.wcs, grid)
            del frame
        for row in rows:
            key = row["specobjid"]
            if key in grids:
                meta = {n: row[n] for n in ("specobjid", "run", "rerun", "camcol", "field")}
                meta["date"] = reference.meta["date"]
                cutout = combine(pieces[key], grids[key], reference.wcs, meta)
                outcome[key] = self._keep(row, cutout)
        return outcome

    def _keep(self, row, cutout):
        masked = float(cutout.mask.mean())
        if masked > self.config.max_masked:
            return "failed", f"on the edge of its frame: {100 * masked:.0f} % of the cutout is off"
        write_image(cutout_path(self.folder, row), cutout, overwrite=True)
        return "done", ""

    def _frame(self, band, run, rerun, camcol, field):
        config = self.config
        url = frame_url(config.release, run, rerun, camcol, field, band)
        path = self.folder / frame_name(run, camcol, field, band)
        return self._get(url, path, lambda p: read_frame(p, band, run, camcol, field))

    def _spectrum(self, row):
        plate, mjd, fiberid = row["plate"], row["mjd"], row["fiberid"]
        url = spectrum_url(self.config.release, row["run2d"], plate, mjd, fiberid)
        path = self.folder / spectrum_name(plate, mjd, fiberid)
        try:
            self._get(url, path, lambda p: check_spectrum(p, plate, mjd, fiberid))
        except Missing as error:
            return "failed", str(error)
        except GiveUp as error:
            return "later", str(error)
        return "done", ""

    def _get(self, url, path, check):
        """Return the content of a file that is there and right, else fetch it."""
        name = str(path.relative_to(self.folder))
        known = self.store.file(url)
        if path.exists() and (known is None or path.stat().st_size == known[0]):
            try:
                content = check(path)[0]
            except FileRefused:
                path.unlink()
            else:
                if known is None:  # killed after the file arrived, before it was noted
                    self.store.add_file(url, name, **_facts(path))
                return content
        try:
            fetched = self.client.fetch(url, path, check)
        except GiveUp as error:
            self.store.add_file(url, name, state="failed", reason=str(error))
            raise
        facts = {key: getattr(fetched, key) for key in ("size", "sha256", "date", "n_attempts")}
        self.store.add_file(url, name, **facts)
        return fetched.content


def _facts(path):
    status = path.stat()
    date = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"size": status.st_size, "sha256": sha256, "date": date, "n_attempts": None}
