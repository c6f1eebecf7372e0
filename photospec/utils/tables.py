"""Tables as files that other programs read: ECSV, FITS, VOTable, CSV, Parquet.

astropy writes masked quantities in a form that only astropy understands: in ECSV, seven lines of
header for each column, beyond what TOPCAT takes; in FITS and Parquet, additional columns. Masked
columns that have a unit hold the same, are read by everything, and come back as quantities in a
QTable.
"""

import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table

from photospec.errors import InputError
from photospec.utils.files import replacing
from photospec.utils.optional import optional_imports

__all__ = ["TABLE_FORMATS", "plain_table", "write_table"]

#: Ending of a file's name -> (format in astropy, what is special about it).
TABLE_FORMATS = {
    ".ecsv": ("ascii.ecsv", "text with units, descriptions and metadata; the most complete"),
    ".fits": (
        "fits",
        "binary; NaN where masked; descriptions and metadata in the header",
    ),
    ".vot": ("votable", "XML of the Virtual Observatory; metadata as INFO"),
    ".csv": ("ascii.csv", "values alone: no units, descriptions or metadata"),
    ".parquet": (
        "parquet",
        "columns for pandas, Dask, LSDB; NaN where masked; descriptions and metadata for astropy, "
        "and as VOTable for TOPCAT; needs pyarrow",
    ),
}

# Entries of meta whose first eight letters would mean something else in a FITS header.
_SHORT = {"redshift_range": "Z_RANGE", "galactic_extinction": "GAL_EXT"}


def write_table(path: str | PathLike, table: Table, *, overwrite: bool = False) -> None:
    """Write a table so that TOPCAT, STILTS, pandas and others read all of it.

    Parameters
    ----------
    path : path-like
        Its ending chooses the format: one of `TABLE_FORMATS`.
    table : astropy.table.Table or QTable
        As of `photospec.analysis.measure_properties`. ``meta`` is written with the version of
        photospec and the date (UTC) added to it.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        If the ending is none of these, or the file exists and `overwrite` is false.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from astropy.utils.masked import Masked
    >>> from photospec.utils.tables import write_table
    >>> age = Masked([5.0, np.nan] * u.Gyr, mask=[False, True])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(f"{folder}/table.ecsv", QTable({"age": age}))
    ...     back = QTable.read(f"{folder}/table.ecsv")
    >>> back["age"].unit, back["age"].mask.tolist()
    (Unit("Gyr"), [False, True])
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in TABLE_FORMATS:
        raise InputError(
            f"path: expected a name ending in {', '.join(TABLE_FORMATS)}, got {path.name}"
        )
    if path.exists() and not overwrite:
        raise InputError(f"path: expected a new file, got {path} which exists; allow overwrite")
    plain = plain_table(table)
    plain.meta.setdefault("version", f"photospec {version('photospec')}")
    # Without "+00:00", which the card DATE of FITS does not take.
    now = datetime.now(UTC).replace(tzinfo=None)
    plain.meta.setdefault("date", now.isoformat(timespec="seconds"))
    writers = {".fits": _write_fits, ".parquet": _write_parquet, ".vot": _write_votable}
    with replacing(path) as temporary, warnings.catch_warnings():
        # Of units and names that a format has no standard for; they are written all the same.
        warnings.simplefilter("ignore")
        if suffix in writers:
            writers[suffix](plain, temporary)
        else:
            plain.write(temporary, format=TABLE_FORMATS[suffix][0])


def plain_table(table: Table) -> Table:
    """Make a table of columns and masked columns with units, without quantities.

    Parameters
    ----------
    table : astropy.table.Table or QTable

    Returns
    -------
    astropy.table.Table
        A copy; units, formats, descriptions and ``meta`` are kept.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from photospec.utils.tables import plain_table
    >>> plain_table(QTable({"age": [1, 2] * u.Gyr}))["age"].unit
    Unit("Gyr")
    """
    plain = Table(meta=dict(table.meta))
    for name in table.colnames:
        column = table[name]
        mask = np.broadcast_to(np.asarray(getattr(column, "mask", False)), np.shape(column))
        values = getattr(column, "unmasked", column)
        values = np.asarray(getattr(values, "value", values))
        if isinstance(column, np.ma.MaskedArray):
            values = np.asarray(column.data)
        made = MaskedColumn(values, mask=mask) if mask.any() else Column(values)
        made.unit, made.format = column.unit if hasattr(column, "unit") else None, None
        made.format, made.description = column.info.format, column.info.description
        plain[name] = made
    return plain


def _write_fits(table, path):
    """Write a binary table: NaN where numbers are masked; units that FITS lacks as YAML."""
    ready = QTable()
    for name in table.colnames:
        column = table[name]
        masked = isinstance(column, MaskedColumn)
        if column.dtype.kind in "US":
            ready[name] = Column(np.ma.filled(column, "") if masked else column)
        elif column.dtype.kind == "b" and masked:
            # Truth values have no masked ones that astropy reads without a warning.
            mask = np.ma.getmaskarray(column)
            ready[name] = MaskedColumn(column.data, mask=mask, dtype="i2", fill_value=-1)
        elif column.dtype.kind == "f":
            values = np.asarray(np.ma.filled(column, np.nan))
            ready[name] = Column(values, unit=column.unit)
        else:
            ready[name] = column
        ready[name].info.description = column.description
    ready.write(path, format="fits", overwrite=True)
    with fits.open(path, mode="update") as hdus:
        hdu = hdus[1]
        for number, name in enumerate(hdu.columns.names, 1):
            unit = table[name].unit
            text = table[name].description or ""
            if unit is not None and f"TUNIT{number}" not in hdu.header:
                text += f" [{unit}]"
            if text:
                hdu.header.set(f"TCOMM{number}", text, after=f"TTYPE{number}")
        for key, value, name in _cards(table.meta):
            hdu.header[key] = (value, name)
        hdu.header["LONGSTRN"] = ("OGIP 1.0", "long texts go on in cards CONTINUE")


def _cards(meta):
    """Yield the entries of meta as cards of a FITS header, with names that were cut as comments."""
    for key, value in meta.items():
        if isinstance(value, list | tuple):
            value = " ".join(map(str, value))
        elif not isinstance(value, str | int | float | bool):
            continue
        card = _SHORT.get(key, key).upper().replace(" ", "_").replace("-", "_")[:8]
        yield card, value, "" if card == key.upper() else key


def _write_votable(table, path):
    """Write a VOTable with the entries of meta as INFO."""
    from astropy.io.votable import writeto

    writeto(_votable(table), str(path))


def _votable(table):
    """Make a VOTable with the entries of meta as INFO."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    votable = from_table(table)
    for key, value in table.meta.items():
        name = key.replace(" ", "_")
        votable.resources[0].infos.append(Info(name=name, value=str(value)))
    return votable


def _write_parquet(table, path):
    """Write Parquet: NaN where numbers are masked, so that columns are those of the table.

    Beside the metadata that astropy reads stands the same as a VOTable without rows, for TOPCAT and
    other tools of the Virtual Observatory (IVOA note "VOParquet" 1.0).
    """
    with optional_imports():
        from pyarrow import parquet
    ready = Table(meta=table.meta)
    for name in table.colnames:
        column = table[name]
        fill = {"f": np.nan, "U": "", "S": b""}.get(column.dtype.kind)
        if isinstance(column, MaskedColumn) and fill is not None:
            ready[name] = Column(column.filled(fill), copy=False)
            ready[name].info = column.info
        else:
            ready[name] = column
    ready.write(path, format="parquet", overwrite=True)
    written = parquet.read_table(path)
    fields = Table(meta=table.meta)
    for name in written.column_names:
        # What is no column of the table is the mask of one: truth values have no NaN.
        text = f"true where {name.removesuffix('.mask')} has no value"
        fields[name] = (
            ready[name][:0] if name in ready.colnames else Column([], dtype=bool, description=text)
        )
    described = BytesIO()
    _votable(fields).to_xml(described)
    metadata = written.schema.metadata | {
        b"IVOA.VOTable-Parquet.version": b"1.0",
        b"IVOA.VOTable-Parquet.content": described.getvalue(),
    }
    parquet.write_table(written.replace_schema_metadata(metadata), path)
