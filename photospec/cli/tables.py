"""Tables and figures as files."""

from photospec.utils.files import replacing

__all__ = ["FIGURE_SUFFIXES", "TABLE_SUFFIXES", "add_origin", "draw", "stack_rows", "write"]

#: Those of `photospec.utils.tables.TABLE_FORMATS`, which costs seconds to import.
TABLE_SUFFIXES = (".ecsv", ".fits", ".vot", ".csv", ".parquet")
FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")

# A picture of more galaxies would be too tall for the format, and for the reader.
_MOST_IN_ONE_PICTURE = 100

#: Entries of a prediction's ``meta`` with one value per spectrum -> column of tables.
_ORIGIN = {
    "images": "image",
    "ra": "ra",
    "dec": "dec",
    "flags": "image_flags",
    "similarity": "similarity",
    "galactic_ebv": "galactic_ebv",
    "drawn_redshift": "drawn_redshift",
    "expected_redshift": "expected_redshift",
}
_FORMATS = {"ra": ".6f", "dec": ".6f", "similarity": ".5f", "galactic_ebv": ".5g"}
# Entries of ``meta`` that go into that of the table.
_OF_ALL = ("weights", "seed", "galactic_extinction")


#: What the columns of `add_origin`, and ``file``, are: (name, unit, meaning), for the reference.
ORIGIN_COLUMNS = (
    ("file", "", "file of the spectrum (measure)"),
    ("image", "", "image that the spectrum was predicted from"),
    ("ra", "deg", "right ascension of the target, ICRS"),
    ("dec", "deg", "declination of the target, ICRS"),
    ("image_flags", "", "what was odd about the image"),
    ("similarity", "", "cosine of the embeddings of image and spectrum"),
    ("galactic_ebv", "mag", "E(B-V) of the Milky Way before the galaxy, scale of the SFD map"),
    ("drawn_redshift", "", "redshift at which the networks drew the spectrum"),
    ("expected_redshift", "", "mean of the density that the redshifts are drawn from"),
)

_UNITS = {name: unit for name, unit, _ in ORIGIN_COLUMNS}
_MEANING = {name: text for name, _, text in ORIGIN_COLUMNS}


def add_origin(table, spectra, best=None):
    """Say in a table of properties where its predicted spectra come from.

    Parameters
    ----------
    table : astropy.table.QTable
        One row per spectrum; gets the columns ``image``, ``ra``, ``dec`` in front, and behind
        what was odd about the image and how the networks drew the spectrum. Its ``meta`` gets
        weights and seed.
    spectra : specutils.Spectrum
        Flux (n, n_wave), or (n_wave,) for a table of one row.
    best : list of int, optional
        Where the spectra are candidates, equally many of each row: which one each row is of.
    """
    import numpy as np
    from astropy import units as u
    from astropy.table import Column, MaskedColumn

    place = 0
    for key, name in _ORIGIN.items():
        values = _per_row(spectra, key, len(table), best)
        if values is None:
            continue
        if key == "flags":
            column = Column(["; ".join(flags) for flags in values])
        elif key == "images":
            column = Column([str(value) for value in values])
        else:
            numbers = np.array([np.nan if v is None else v for v in values], float)
            column = MaskedColumn(numbers, mask=~np.isfinite(numbers), format=_FORMATS.get(name))
            column.format = column.format or ".6f"
        if _UNITS[name]:
            column.unit = u.Unit(_UNITS[name])
        front = name in ("image", "ra", "dec")
        column.description = _MEANING[name]
        table.add_column(column, name=name, index=place if front else None)
        place += front
    for key in _OF_ALL:
        if key in spectra.meta:
            table.meta[key] = spectra.meta[key]


def _per_row(spectra, key, n, best):
    """Return values of an entry of ``meta``, one per row of a table; None where there are none."""
    values = spectra.meta.get(key)
    if spectra.flux.ndim == 1 and values is not None:
        values = [values]
    if not isinstance(values, list | tuple):
        return None
    if best is not None and len(values) == len(spectra.flux):
        each = len(values) // len(best)
        values = [values[i * each + one] for i, one in enumerate(best)]
    if len(values) != n or all(value is None for value in values):
        return None
    return values


def stack_rows(tables):
    """Join the rows of tables of properties.

    Parameters
    ----------
    tables : list of astropy.table.QTable
        At least one.

    Returns
    -------
    astropy.table.QTable
        ``meta`` has the entries of all; where they differ, one after the other in one text.
    """
    from astropy.table import vstack

    joined = vstack(tables, metadata_conflicts="silent")
    # By itself astropy makes one long list of equal lists, and keeps the last of other values.
    for key in joined.meta:
        values = []
        for table in tables:
            if key in table.meta and table.meta[key] not in values:
                values.append(table.meta[key])
        joined.meta[key] = values[0] if len(values) == 1 else "; ".join(map(str, values))
    return joined


def write(path, table):
    """Write a table in the format that the file name's ending stands for.

    Parameters
    ----------
    path : pathlib.Path
        Ends in one of `TABLE_SUFFIXES`; an existing file is replaced.
    table : astropy.table.QTable
        The table.
    """
    from photospec.utils.tables import write_table

    write_table(path, table, overwrite=True)


def draw(path, rows):
    """Draw galaxies into a file, in pages where it is a PDF.

    Parameters
    ----------
    path : pathlib.Path
        Ends in one of `FIGURE_SUFFIXES`.
    rows : sequence of photospec.figures.GalaxyRow
        The galaxies.
    """
    import warnings

    from photospec.errors import PhotospecWarning
    from photospec.figures import galaxy_figures, save_figure

    paged = path.suffix.lower() == ".pdf"
    if not paged and len(rows) > _MOST_IN_ONE_PICTURE:
        warnings.warn(
            f"{path} shows the first {_MOST_IN_ONE_PICTURE} of {len(rows)} galaxies; "
            "a .pdf has pages for all",
            PhotospecWarning,
            stacklevel=2,
        )
        rows = rows[:_MOST_IN_ONE_PICTURE]
    with replacing(path) as temporary:
        save_figure(galaxy_figures(rows, paged=paged), temporary)
