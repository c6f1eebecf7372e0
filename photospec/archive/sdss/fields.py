"""All that is fetched for the galaxies on one field: frames once, spectra, cutouts."""

import hashlib
from datetime import UTC, datetime

import numpy as np

from photospec.archive.sdss.addresses import frame_name, frame_url, spectrum_name, spectrum_url
from photospec.archive.sdss.cutouts import Cutout, Grid, cut, local_wcs, write_cutout
from photospec.archive.sdss.frames import read_frame
from photospec.archive.sdss.spectra import check_spectrum
from photospec.archive.transfer import FileRefused, GiveUp, Missing

__all__ = ["FieldFetcher", "cutout_path"]


def cutout_path(folder, row):
    """Return where the cutout of a galaxy lies in a download folder (Path)."""
    parts = (f"{row['run']:06d}", str(row["camcol"]), f"{row['field']:04d}")
    return folder.joinpath("cutouts", *parts, f"{row['specobjid']}.fits")


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
        wcs, date = reference.wcs, reference.date
        pieces = {}
        for band in self.config.bands:
            frame = reference if band == "r" else self._frame(band, *place)
            for key, piece in zip(grids, cut(frame, wcs, list(grids.values()))):
                pieces.setdefault(key, []).append(piece)
            del frame
        for row in rows:
            if row["specobjid"] in grids:
                grid = grids[row["specobjid"]]
                cutout = self._join(row, grid, wcs, date, pieces[row["specobjid"]])
                outcome[row["specobjid"]] = self._keep(row, cutout)
        return outcome

    def _join(self, row, grid, wcs, date, pieces):
        data = np.array([data for data, _ in pieces], dtype=np.float32)
        sigma = np.array([sigma for _, sigma in pieces], dtype=np.float32)
        meta = {name: row[name] for name in ("run", "rerun", "camcol", "field")} | {"date": date}
        position = (row["ra"], row["dec"])
        bands = tuple(self.config.bands)
        return Cutout(data, sigma, bands, local_wcs(wcs, grid), position, meta)

    def _keep(self, row, cutout):
        masked = float(cutout.mask.mean())
        if masked > self.config.max_masked:
            return "failed", f"on the edge of its frame: {100 * masked:.0f} % of the cutout is off"
        # As text: identifiers exceed the integers that some FITS readers have.
        path = cutout_path(self.folder, row)
        write_cutout(path, cutout, SPECOBJ=str(row["specobjid"]), MASKED=masked)
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
