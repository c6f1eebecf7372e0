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


# Endings of the files that are taken from a folder.
_FITS = (".fits", ".fit", ".fits.gz", ".fits.bz2", ".fits.fz")


def sources_of(args):
    """Return the images that a verb was given, by ``args.images`` and the position of their target.

    Parameters
    ----------
    args : argparse.Namespace
        With ``images``, ``ra``, ``dec``, ``galactic_ebv`` and perhaps ``positions``.

    Returns
    -------
    list of ImageSource

    Raises
    ------
    InputError
        As `image_sources` and `sources_at`.
    """
    if (args.ra is None) != (args.dec is None):
        raise InputError("--ra and --dec go together: expected both or neither")
    positions = getattr(args, "positions", None)
    if positions is None:
        return image_sources(args.images, args.ra, args.dec, args.galactic_ebv)
    if args.ra is not None:
        raise InputError("--positions: expected it without --ra and --dec, got both")
    return sources_at(args.images, positions, args.galactic_ebv)


def expanded(names, what="images"):
    """Expand the names given: to the files of folders, and to those that lists name.

    Parameters
    ----------
    names : sequence of str
        Files, folders, or ``@LIST`` for a text file with a name in each line (relative to where
        the command runs; empty lines and those that begin with # are left out).
    what : str, optional
        Name of the argument, for errors.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    InputError
        If a list cannot be read, or a folder holds no FITS file.
    """
    from photospec.image.bricks import brick_of

    paths = []
    for name in map(str, names):
        if name.startswith("@"):
            paths += expanded(_lines(Path(name[1:]), what), what)
        elif Path(name).is_dir():
            files = [p for p in sorted(Path(name).iterdir()) if p.name.lower().endswith(_FITS)]
            # Beside the images of a brick lie models, depths and tables of it.
            files = [p for p in files if brick_of(p)] or files
            if not files:
                raise InputError(
                    f"{what}: expected FITS files in the folder {name}, got none; "
                    f"their names end in {', '.join(_FITS)}"
                )
            paths += files
        else:
            paths.append(Path(name))
    return paths


def _lines(path, what):
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"{what}: expected a list of files in {path}, got {reason}") from None
    found = [line.strip() for line in lines]
    return [line for line in found if line and not line.startswith(("#", "@"))]


def sources_at(names, table, galactic_ebv=None):
    """Return one image for each row of a table of positions, on SDSS frames or on bricks.

    Parameters
    ----------
    names : sequence of str
        Folders of SDSS frames or of bricks of the Legacy Surveys (or of such folders), or files.
    table : path
        Columns ra, dec (degrees) and the names of the images.
    galactic_ebv : float, optional
        E(B-V) of the Milky Way before all targets, mag.

    Returns
    -------
    list of ImageSource
        In the order of the table. A position on none of them fails when it is read.

    Raises
    ------
    InputError
        If there are no such frames, or the table lacks columns.
    """
    from astropy.coordinates import SkyCoord

    from photospec.survey.positions import read_positions
    from photospec.survey.sources import find_fields, frame_fields

    rows = read_positions(table)
    places = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    files = [None] * len(places)
    for folder, given in _frames(names).items():
        fields = frame_fields(folder)
        for row, number in enumerate(find_fields(folder, rows["ra"], rows["dec"])):
            # A position on none of them is told by the files of the first field.
            if files[row] is None or (number >= 0 and not files[row][1]):
                named = [path for path in fields[max(number, 0)] if not given or path in given]
                files[row] = tuple(named or sorted(given)), number >= 0
    return [
        ImageSource(name, paths, position, galactic_ebv)
        for name, position, (paths, _) in zip(rows["image"], places, files, strict=True)
    ]


def _frames(names):
    """Return folders of whole fields, and which files of each were named (none for all)."""
    if not names:
        raise InputError(
            "images: expected folders of SDSS frames or bricks with --positions, got none"
        )
    if all(Path(name).is_dir() for name in names):
        return {Path(name): set() for name in names}
    found = {}
    for path in expanded(names):
        if not _field(path):
            raise InputError(
                "images: expected SDSS frames or bricks, or folders of them, with --positions, "
                f"got {path}"
            )
        found.setdefault(path.parent, set()).add(path)
    return found


def _field(path):
    """Name of the SDSS field or of the brick that a file is of; None for a file of one galaxy."""
    from photospec.image.bricks import brick_of

    frame = _FRAME.search(path.name)
    return f"frame-{frame['field']}" if frame else brick_of(path)


def image_sources(names, ra=None, dec=None, galactic_ebv=None):
    """Tell which files belong together.

    Parameters
    ----------
    names : sequence of str
        As `expanded` takes them; SDSS frames of one field, and files of one brick of the Legacy
        Surveys, are one image, any other file is one.
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
    if not names:
        if position is None:
            raise InputError("images: expected FITS files, or a position by --ra and --dec")
        return [ImageSource(f"ra={ra:.5f} dec={dec:+.5f}", (), position, galactic_ebv)]

    groups = {}
    for path in expanded(names):
        field = _field(path)
        key = (path.parent, field) if field else path
        group = groups.setdefault(key, [])
        if path in group:
            raise InputError(f"images: {path} is given twice")
        group.append(path)
    sources = []
    for key, group in groups.items():
        is_field = isinstance(key, tuple)
        if is_field and position is None:
            kind = "SDSS field" if key[1].startswith("frame") else "brick"
            raise InputError(
                f"images: {group[0].name} is a whole {kind}; "
                "say which galaxy by --ra and --dec (degrees), or which ones by --positions"
            )
        name = key[1] if is_field else str(group[0])
        sources.append(ImageSource(name, tuple(group), position, galactic_ebv))
    return sources
