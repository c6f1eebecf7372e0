"""Inputs as LSDB catalogues, and catalogues with predictions, lazily."""

from __future__ import annotations

import json
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from astropy import units as u

from photospec.errors import InputError
from photospec.image import band_names
from photospec.image.units import parse_unit, to_nanomaggies
from photospec.survey.columns import SurveySettings, empty_frame
from photospec.survey.partition import NO_POSITION, predict_partition
from photospec.survey.positions import file_position, own_place, read_positions
from photospec.survey.sources import (
    SOURCE_ROW,
    FileSource,
    FrameSource,
    HatsSource,
    ImageColumn,
    MultimodalSource,
    PairsSource,
    ParquetSource,
    ZarrSource,
    find_fields,
    holds_fields,
    identifier_column,
    open_zarr,
)

if TYPE_CHECKING:
    import lsdb

    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["Catalogue", "open_catalogue", "predict_catalogue"]

#: Rows of a partition of catalogues made here: minutes of work, and what a killed worker loses.
PARTITION_ROWS = 1000
# Finest HEALPix order of partitions: 0.013 square degrees. Its map of counts takes 25 MB.
_HIGHEST_ORDER = 9
# Identifiers are compared over the whole catalogue up to so many rows.
_MAX_COMPARED = 5_000_000
_FITS = (".fits", ".fit", ".fits.gz", ".fits.bz2", ".fz")
# Columns that are used where they are there.
ALSO = ("galactic_ebv", SOURCE_ROW, NO_POSITION)


def predict_catalogue(
    catalogue: lsdb.Catalog | str | PathLike,
    spectrograph: PhotoSpectrograph | None = None,
    *,
    source: object = None,
    settings: SurveySettings | None = None,
    **options: object,
) -> lsdb.Catalog:
    """Predict for all images of a catalogue, when it is computed.

    Parameters
    ----------
    catalogue : lsdb.Catalog, or path-like
        A catalogue, or what `open_catalogue` opens.
    spectrograph : PhotoSpectrograph, optional
        The bundled weights by default.
    source : object, optional
        Where images come from, see `photospec.survey.sources`; what `open_catalogue` finds.
    settings : SurveySettings, optional
        Or its attributes as keyword arguments.

    Returns
    -------
    lsdb.Catalog
        Lazy: ``.query``, ``.crossmatch`` and ``.to_hats`` go on from there.

    Raises
    ------
    InputError
        If the catalogue cannot be opened or lacks columns.

    Examples
    --------
    >>> from photospec.survey import predict_catalogue
    >>> found = predict_catalogue("cutouts", what="photoz")  # doctest: +SKIP
    >>> found.query("redshift_mean > 0.2").compute()  # doctest: +SKIP
    """
    if isinstance(catalogue, str | Path):
        opened = open_catalogue(catalogue)
        catalogue, source = opened.catalog, source or opened.source
        options.setdefault("identifier", opened.identifier)
    if spectrograph is None:
        from photospec import PhotoSpectrograph

        spectrograph = PhotoSpectrograph.load()
    source = ImageColumn() if source is None else source
    settings = settings or SurveySettings(
        **{"ra": catalogue.hc_structure.catalog_info.ra_column,
           "dec": catalogue.hc_structure.catalog_info.dec_column} | options
    )  # fmt: skip
    catalogue = needed(catalogue, spectrograph, source, settings)
    meta = empty_frame(catalogue.meta, settings)
    return catalogue.map_partitions(predict_partition, spectrograph, source, settings, meta=meta)


def needed(catalogue, spectrograph, source, settings):
    """Make a catalogue without the columns that a prediction does not need.

    Parameters
    ----------
    catalogue : lsdb.Catalog
    spectrograph : PhotoSpectrograph
    source : object
    settings : SurveySettings

    Returns
    -------
    lsdb.Catalog

    Raises
    ------
    InputError
        If columns are missing, or the weights cannot do what is wanted.
    """
    check_columns(catalogue, source, settings)
    _check_images(getattr(source, "images", source), spectrograph)
    if settings.what == "photoz" and not spectrograph.draws_redshifts:
        raise InputError(
            "what: expected predict or measure with weights that draw no redshifts, got photoz"
        )
    # Only these are read: catalogues may have hundreds of columns.
    wanted = [settings.identifier, settings.ra, settings.dec, *settings.keep, *source.columns]
    wanted += [name for name in ALSO if name in catalogue.columns]
    return catalogue[list(dict.fromkeys(wanted))]


def _check_images(images, spectrograph):
    """Refuse a column of images whose unit or bands would make each row unusable."""
    if not isinstance(images, ImageColumn):
        return
    area = (images.pixel_scale * u.arcsec) ** 2
    to_nanomaggies(np.zeros(len(images.bands)), parse_unit(images.unit), images.bands, area)
    if images.bands == ImageColumn.bands:  # or those of a structure, which tells its own
        return
    config = spectrograph.config
    lacking = [b for b in config.bands if b not in images.bands and b not in config.may_miss]
    if lacking:
        raise InputError(
            f"bands: expected {', '.join(config.bands)}, got {', '.join(images.bands)}: no "
            f"{', '.join(lacking)}, without which these weights predict nothing"
        )


def check_columns(catalogue, source, settings):
    """Make sure that a catalogue has what is needed, before any work.

    Raises
    ------
    InputError
    """
    have = list(map(str, catalogue.columns))
    wanted = [settings.identifier, settings.ra, settings.dec, *settings.keep, *source.columns]
    missing = [name for name in dict.fromkeys(wanted) if name not in have]
    if missing:
        raise InputError(
            f"catalogue: expected columns {', '.join(missing)}, got {', '.join(have[:20])}; name "
            "identifiers and images by --identifier and --images, if they are called otherwise"
        )


class Catalogue:
    """An input that is open.

    Attributes
    ----------
    catalog : lsdb.Catalog
    source : object
        Of `photospec.survey.sources`.
    identifier : str
        Column of identifiers.
    description : str
        What tells it from other inputs: kind, place and rows.
    partition_rows : int
        Most rows that are worked on in one piece.
    lengths : list of list of int, optional
        Rows of each row group of each partition, of catalogues whose partitions may be longer
        than that.
    schema : pyarrow.Schema, optional
        Of the input's files, whose fields' metadata may tell units and descriptions.
    """

    def __init__(
        self, catalog, source, identifier, description, partition_rows, lengths=None, schema=None
    ):
        self.catalog, self.source = catalog, source
        self.identifier, self.description = identifier, description
        self.partition_rows, self.lengths, self.schema = partition_rows, lengths, schema

    def column_metadata(self, name):
        """Return unit and description of a column of the input, as far as its files tell them."""
        field = None
        if self.schema is not None and name in self.schema.names:
            field = self.schema.field(name)
        told = {k.decode(): v.decode() for k, v in ((field and field.metadata) or {}).items()}
        return {
            "unit": told.get("unit", "as in the input, which does not tell it"),
            "description": told.get("description", "As in the input"),
        }


def open_catalogue(
    path: str | PathLike,
    *,
    positions: str | PathLike | None = None,
    identifier: str | None = None,
    images: str | PathLike | None = None,
    partition_rows: int | None = None,
    bands: str | None = None,
    unit: str | None = None,
    pixel_scale: float | None = None,
) -> Catalogue:
    """Open a catalogue of images of any kind.

    Parameters
    ----------
    path : path-like
        A HATS catalogue; a Parquet file or folder of them; a pairs file; a Zarr group laid out
        as one; a file or folder of the Multimodal Universe (HDF5); a folder of FITS cutouts; or,
        with `positions`, a folder of SDSS frames, of bricks of the Legacy Surveys, or of cutouts.
    positions : path-like, optional
        Table with columns ``ra`` and ``dec`` (degrees) and the names of the images, in the
        first of ``image``, ``identifier``, ``name``, ``id``, ``objid`` there is.
    identifier : str, optional
        Column of identifiers of a HATS or Parquet catalogue.
    images : str, optional
        Column of images of such a catalogue, ``pixels`` by default; or what they come from, by
        identifier: a folder of FITS files, frames, a pairs file, Zarr, the Multimodal Universe.
    partition_rows : int, optional
        Most rows of a partition, 1000 by default. HATS catalogues keep theirs, and are worked on
        in pieces of so many rows.
    bands, unit, pixel_scale : str, str, float, optional
        Of a column of images whose metadata do not tell: names of the bands, their flux unit,
        arcsec.

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If there is no such thing, columns are missing, identifiers occur twice.
    """
    path = Path(path)
    rows = partition_rows or PARTITION_ROWS
    told = {"bands": bands, "unit": unit, "pixel_scale": pixel_scale}
    told = {name: value for name, value in told.items() if value is not None}
    if not path.exists():
        raise InputError(f"catalogue: expected a file or a folder, got {path}, which is not there")
    if path.is_dir() and any((path / n).is_file() for n in _HATS_FILES):
        return _from_hats(path, identifier, images, told, rows)
    if path.suffix in (".parquet", ".parq") or (path.is_dir() and any(path.glob("*.parq*"))):
        return _from_parquet(path, identifier, images, told, rows)
    if told:
        raise InputError(
            f"{next(iter(told))}: expected it only with a column of images (HATS or Parquet), got "
            f"{path}, whose images tell it themselves"
        )
    if _is_zarr(path):
        return _from_zarr(path, rows)
    if _is_multimodal(path):
        return _from_multimodal(path, rows)
    if path.is_file():
        return _from_pairs(path, rows)
    if positions is not None and holds_fields(path):
        return _from_frames(path, positions, rows)
    return _from_folder(path, positions, rows)


_HATS_FILES = ("hats.properties", "properties", "collection.properties")


def _is_zarr(path):
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def _is_multimodal(path):
    """Whether a path is HDF5 in the layout of the Multimodal Universe."""
    import h5py

    from photospec.archive.multimodal import multimodal_files

    files = multimodal_files(path)
    try:
        with h5py.File(files[0], "r") as data:
            return "object_id" in data
    except (IndexError, OSError):
        return False


def _from_hats(path, identifier, images, told, rows):
    import hats
    import lsdb

    try:
        found = hats.read_hats(path)
        found = getattr(found, "main_catalog", found)  # of a collection
        columns = list(found.schema.names)
        identifier = _identifier(columns, identifier, path)
        source = _source(path, identifier, images, columns, found.schema, told)
        if isinstance(source, ImageColumn):
            # Images stay in the files, of which each may be larger than the memory.
            columns.remove(source.column)
            source = HatsSource(str(found.catalog_path), source, identifier)
        catalog = lsdb.open_catalog(path, columns=columns)
        if isinstance(source, FrameSource):
            info = catalog.hc_structure.catalog_info
            source = FrameSource(source.folder, info.ra_column, info.dec_column)
        lengths = group_lengths(catalog)
    except InputError:
        raise
    except Exception as error:  # LSDB raises many kinds for what is no catalogue
        text = " ".join(str(error).split())[:200]
        raise InputError(f"catalogue: expected a HATS catalogue, got {path} ({text})") from None
    compare_identifiers(catalog, identifier)
    description = f"HATS {path.resolve()} of {sum(map(sum, lengths))} rows"
    return Catalogue(catalog, source, identifier, description, rows, lengths, found.schema)


def group_lengths(catalog):
    """Rows of each row group of each partition of a HATS catalogue, from the ends of its files."""
    from concurrent.futures import ThreadPoolExecutor

    import hats
    import pyarrow.dataset as ds

    info = catalog.hc_structure.catalog_info
    place, suffix = catalog.hc_structure.catalog_path, info.npix_suffix or ".parquet"

    def lengths(pixel):
        file = hats.io.paths.pixel_catalog_file(place, pixel, None, suffix)
        data = ds.dataset(str(file), format="parquet", partitioning=None)
        return [group.num_rows for part in data.get_fragments() for group in part.row_groups]

    with ThreadPoolExecutor(16) as pool:  # of large catalogues on disks far away
        return list(pool.map(lengths, catalog.get_healpix_pixels()))


def compare_identifiers(catalog, identifier):
    """Refuse a catalogue whose identifiers occur twice; only up to some million rows."""
    total = catalog.hc_structure.catalog_info.total_rows
    if total and total > _MAX_COMPARED:
        return
    found = catalog[[identifier]].compute(progress_bar=False)[identifier]
    _refuse_duplicates(found.astype(str))


def _refuse_duplicates(identifiers):
    identifiers = pd.Series(np.asarray(identifiers, object))
    twice = identifiers[identifiers.duplicated()]
    if len(twice):
        raise InputError(
            f"identifiers: expected each once, got {twice.iloc[0]!r} and {len(twice) - 1} others "
            "twice or more; is another column the identifier?"
        )


def _identifier(columns, wanted, path):
    names = ("image", "identifier", "object_id", "objid", "id", "name", "source_id", "targetid")
    if wanted is not None:
        if wanted not in columns:
            raise InputError(
                f"identifier: expected a column of {path}, got {wanted!r}; it has "
                f"{', '.join(columns[:20])}"
            )
        return wanted
    lower = {name.lower(): name for name in reversed(columns)}
    for name in names:
        if name in lower:
            return lower[name]
    raise InputError(
        f"identifier: expected a column of identifiers in {path}, got {', '.join(columns[:20])}; "
        "say which one is it by --identifier"
    )


def _source(path, identifier, images, columns, schema, told):
    """Where the images of a HATS or Parquet catalogue come from."""
    if images is not None and images not in columns and Path(images).exists():
        place = Path(images)
        where = str(place.resolve())
        if _is_zarr(place):
            return ZarrSource(where, identifier)
        if _is_multimodal(place):
            return MultimodalSource(where, identifier)
        if place.is_file():
            return PairsSource(where, identifier)
        if holds_fields(place):
            return FrameSource(where)
        return FileSource(where, identifier)
    column = images or "pixels"
    if column not in columns:
        raise InputError(
            f"catalogue: expected a column {column!r} of images in {path}, got "
            f"{', '.join(columns[:20])}; name it, or a folder of cutouts, by --images"
        )
    return _image_column(column, schema, told)


def _image_column(column, schema, told):
    """Take unit, bands and scale from the column's metadata or as told."""
    import pyarrow as pa

    field = schema.field(column) if schema is not None and column in schema.names else None
    meta = {k.decode(): v.decode() for k, v in ((field and field.metadata) or {}).items()}
    options = {}
    if "bands" in meta:
        options["bands"] = tuple(meta["bands"].replace(",", " ").split())
        if len(options["bands"]) == 1:
            options["bands"] = tuple(options["bands"][0])
    if "unit" in meta:
        options["unit"] = meta["unit"]
    if "pixel_scale" in meta:
        options["pixel_scale"] = float(meta["pixel_scale"])
    if "shape" in meta:
        options["shape"] = tuple(int(n) for n in json.loads(meta["shape"]))
    if field is not None and isinstance(field.type, pa.FixedShapeTensorType):
        options["shape"] = tuple(field.type.shape)
    options |= told
    if "bands" in told:
        options["bands"] = band_names(told["bands"])
    missing = [name for name in ("bands", "unit", "pixel_scale") if name not in options]
    if missing and not _is_structure(field):
        raise InputError(
            f"images: expected {', '.join(missing)} in the metadata of column {column!r}, got "
            "none; give --bands, --unit and --pixel-scale"
        )
    return ImageColumn(column, **options)


def _is_structure(field):
    """Whether a column holds structures of bands, which tell bands and scale themselves."""
    import pyarrow as pa

    if field is None:
        return False
    kind = field.type
    return pa.types.is_struct(kind) or (
        pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)
    )


def _from_parquet(path, identifier, images, told, partition_rows):
    import pyarrow.dataset as ds

    try:
        data = ds.dataset(path, format="parquet")
        schema = data.schema
        columns = list(schema.names)
        identifier = _identifier(columns, identifier, path)
        source = _source(path, identifier, images, columns, schema, told)
        # Images stay in the file: what each row's are is read where it is worked on.
        light = [name for name in columns if name not in source.columns]
        frame = data.to_table(columns=light).to_pandas()
    except InputError:
        raise
    except Exception as error:  # pyarrow raises many kinds
        text = " ".join(str(error).split())[:200]
        raise InputError(f"catalogue: expected Parquet, got {path} ({text})") from None
    if source.columns:
        frame[SOURCE_ROW] = np.arange(len(frame))
        source = ParquetSource(str(path.resolve()), source)
    made = _made(frame, source, identifier, f"Parquet {path.resolve()}", partition_rows)
    made.schema = schema
    return made


def _from_pairs(path, partition_rows):
    from photospec.pairs import PairsFile

    with PairsFile(path) as pairs:
        table, n = pairs.object, len(pairs)
    names = [name for name in table.colnames if table[name].ndim == 1]
    frame = pd.DataFrame({name: np.asarray(table[name]) for name in names})
    if len(frame) != n:
        frame = pd.DataFrame(index=range(n))
    found = identifier_column(frame.columns)
    # A row of a pairs file is its own identifier where none is given.
    frame["image"] = (
        [f"{path.stem}-{row}" for row in range(n)] if found is None else frame[found].astype(str)
    )
    frame[SOURCE_ROW] = np.arange(n)
    keep = [n for n in ("image", "ra", "dec", "galactic_ebv", SOURCE_ROW) if n in frame.columns]
    source = PairsSource(str(path.resolve()))
    return _made(frame[keep], source, "image", f"pairs {path.resolve()}", partition_rows)


def _from_zarr(path, partition_rows):
    group = open_zarr(path.resolve())
    frame = pd.DataFrame(
        {n: group.columns[n][:] for n in ("ra", "dec", "galactic_ebv") if n in group.columns},
        index=range(len(group)),
    )
    frame["image"] = group.identifiers or [f"{path.stem}-{row}" for row in range(len(group))]
    frame[SOURCE_ROW] = np.arange(len(frame))
    source = ZarrSource(str(path.resolve()))
    return _made(frame, source, "image", f"Zarr {path.resolve()}", partition_rows)


def _from_multimodal(path, partition_rows):
    from photospec.archive.multimodal import MultimodalImages

    found = MultimodalImages(path)
    frame = pd.DataFrame({"image": found.identifiers, "ra": found.ra, "dec": found.dec})
    frame[SOURCE_ROW] = np.arange(len(frame))
    source = MultimodalSource(str(path.resolve()))
    return _made(frame, source, "image", f"Multimodal Universe {path.resolve()}", partition_rows)


def _from_frames(path, positions, partition_rows):
    frame = pd.DataFrame(read_positions(positions))
    find_fields(path.resolve(), frame["ra"].to_numpy(), frame["dec"].to_numpy())
    source = FrameSource(str(path.resolve()))
    return _made(frame, source, "image", f"frames {path.resolve()}", partition_rows)


def _from_folder(path, positions, partition_rows):
    files = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.name.endswith(_FITS) and not file.name.startswith(".")
    )
    if positions is not None:
        frame = pd.DataFrame(read_positions(positions))
    elif not files:
        raise InputError(
            f"catalogue: expected a HATS catalogue, Parquet, a pairs file or a folder of FITS "
            f"cutouts, got {path}, which has none of them"
        )
    else:
        places = [file_position(path / name) for name in files]
        frame = pd.DataFrame(places, columns=["ra", "dec"])
        frame["image"] = files
    source = FileSource(str(path.resolve()))
    return _made(frame, source, "image", f"folder {path.resolve()}", partition_rows)


def _made(frame, source, identifier, description, partition_rows):
    """Make a catalogue of rows that are known here, in partitions of bounded size."""
    import lsdb

    _refuse_duplicates(frame[identifier].astype(str))
    if not len(frame):
        raise InputError(f"catalogue: expected some rows, got none in {description}")
    frame = frame.reset_index(drop=True)
    lower = {str(name).lower(): name for name in reversed(frame.columns)}
    names = [lower.get(name, name) for name in ("ra", "dec")]
    for name in names:
        if name not in frame.columns:
            frame[name] = np.nan
        frame[name] = np.asarray(frame[name], float)
    ra, dec = (frame[name].to_numpy() for name in names)
    unknown = ~(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90))
    frame[NO_POSITION] = unknown
    if unknown.any():
        places = [own_place(name) for name in frame[identifier][unknown]]
        frame.loc[unknown, names] = np.array(places)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # only light columns: a million is little
        catalog = lsdb.from_dataframe(
            frame,
            ra_column=names[0],
            dec_column=names[1],
            highest_order=_HIGHEST_ORDER,
            partition_rows=partition_rows,
            margin_threshold=None,
            catalog_name="photospec",
        )
    description = f"{description} of {len(frame)} rows"
    return Catalogue(catalog, source, identifier, description, partition_rows)
