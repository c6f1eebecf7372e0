"""What ``photospec predict`` is given: files, SDSS frames, or a position on the sky."""

import re
from dataclasses import dataclass
from pathlib import Path

from photospec.errors import InputError

# SDSS corrected frames: frame-<band>-<run>-<camcol>-<field>.fits, often compressed.
_FRAME = re.compile(r"frame-(?P<band>[ugriz])-(?P<field>\d{6}-\d-\d{4})\.fits(\.bz2|\.gz)?$")


@dataclass(frozen=True)
class ImageSource:
    """Where one image comes from.

    Attributes
    ----------
    name : str
        How the image is called in messages, tables and figures.
    paths : tuple of pathlib.Path
        One file; several frames of one field; none if the archive is asked.
    position : astropy.coordinates.SkyCoord or None
        The target, if it is not at the centre.
    galactic_ebv : float or None
        E(B-V) of the Milky Way, mag, instead of what the image says.
    """

    name: str
    paths: tuple
    position: object = None
    galactic_ebv: float | None = None

    def read(self):
        """Read or fetch the image.

        Returns
        -------
        astropy.nddata.NDData
            Data (n_bands, ny, nx) with unit, ``meta["bands"]``.
        """
        image = self._read()
        if self.galactic_ebv is not None:
            image.meta["galactic_ebv"] = self.galactic_ebv
        return image

    def _read(self):
        if not self.paths:
            from photospec.archive import sdss_image

            return sdss_image(self.position)
        from photospec.image import read_image

        path = self.paths[0] if len(self.paths) == 1 else list(self.paths)
        return read_image(path, position=self.position)


def sources_at(paths, table):
    """One image for each row of a table of positions, on the frames of one folder.

    Parameters
    ----------
    paths : sequence of path
        One folder of SDSS frames.
    table : path
        Columns ra, dec (degrees) and the names of the images.

    Returns
    -------
    list of ImageSource
        In the order of the table. A position on no frame fails when it is read.

    Raises
    ------
    InputError
        If there is no such folder, or the table lacks columns.
    """
    from astropy.coordinates import SkyCoord

    from photospec.survey.positions import read_positions
    from photospec.survey.sources import find_fields, frame_fields

    if len(paths) != 1 or not Path(paths[0]).is_dir():
        raise InputError("images: expected one folder of SDSS frames with --positions")
    rows = read_positions(table)
    fields = frame_fields(paths[0])
    numbers = find_fields(paths[0], rows["ra"], rows["dec"])
    sources = []
    for name, ra, dec, number in zip(rows["image"], rows["ra"], rows["dec"], numbers):
        # A position on no frame is told by the frames of the first field.
        files = tuple(fields[max(number, 0)])
        sources.append(ImageSource(name, files, SkyCoord(ra, dec, unit="deg")))
    return sources


def image_sources(paths, ra=None, dec=None, galactic_ebv=None):
    """Tell which files belong together.

    Parameters
    ----------
    paths : sequence of path
        Files as given; SDSS frames of one field are one image, any other file is one.
    ra, dec : float, optional
        Position of the target, degrees (ICRS).
    galactic_ebv : float, optional
        E(B-V) of the Milky Way before all targets, mag.

    Returns
    -------
    list of ImageSource
        In the order in which they were given.

    Raises
    ------
    InputError
        If there is neither a file nor a position, a file is given twice, or
        frames come without a position.
    """
    position = None
    if ra is not None:
        from astropy.coordinates import SkyCoord

        position = SkyCoord(ra, dec, unit="deg")
    if not paths:
        if position is None:
            raise InputError("images: expected FITS files, or a position by --ra and --dec")
        return [ImageSource(f"ra={ra:.5f} dec={dec:+.5f}", (), position, galactic_ebv)]

    groups = {}
    for path in map(Path, paths):
        frame = _FRAME.search(path.name)
        key = (path.parent, frame["field"]) if frame else path
        group = groups.setdefault(key, [])
        if path in group:
            raise InputError(f"images: {path} is given twice")
        group.append(path)
    sources = []
    for key, group in groups.items():
        is_field = isinstance(key, tuple)
        if is_field and position is None:
            raise InputError(
                f"images: {group[0].name} is a whole SDSS field; "
                "say which galaxy by --ra and --dec (degrees)"
            )
        name = f"frame-{key[1]}" if is_field else str(group[0])
        sources.append(ImageSource(name, tuple(group), position, galactic_ebv))
    return sources
