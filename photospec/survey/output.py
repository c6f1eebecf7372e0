"""The folder of a survey's output: what is done in it, and partitions that are written whole."""

import json
import shutil
from pathlib import Path

import numpy as np

from photospec.errors import InputError, PhotospecError
from photospec.survey.columns import all_columns
from photospec.utils.files import replacing

__all__ = ["SurveyOutput", "mark_done", "merge_pieces", "name_of", "write_partition", "write_piece"]

_RUN_FILE = "photospec_run.json"
# Folder of pieces of partitions that are too long to be worked on at once.
_PIECES = "pieces"


def name_of(pixel):
    """Name of a HEALPix pixel, as LSDB's markers have it."""
    return f"{pixel.order}_{pixel.pixel}"


class SurveyOutput:
    """Folder of the output: what is done in it, and whether it belongs to this run."""

    def __init__(self, path, run, settings, predicted):
        self.path, self.run, self.settings, self.predicted = path, run, settings, predicted
        self.pixels = predicted.get_healpix_pixels()
        self.failed_before, self.complete, self.n_rows = [], False, 0
        self.n_before = 0
        record = path / _RUN_FILE
        if not record.is_file():
            if path.exists() and any(path.iterdir()):
                raise InputError(
                    f"output: expected a new folder or that of the same run, got {path}, which "
                    "holds something else"
                )
            return
        try:
            found = json.loads(record.read_text())
            before = dict(found["run"])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"output: expected a readable {_RUN_FILE} in {path}, got a damaged one; remove "
                "the folder or choose another"
            ) from None
        other = [key for key in run if before.get(key) != run[key]]
        if other:
            key = other[0]
            raise InputError(
                f"output: expected a new folder or that of the same run, got {path}, made with "
                f"{key} = {before.get(key)!r} where now it is {run[key]!r}; choose another -o"
            )
        self.complete = bool(found.get("complete"))
        self.failed_before = list(found.get("failed", []))
        self.n_rows = int(found.get("rows", 0))

    def record(self, **more):
        """Write what run this is, whole or not at all."""
        with replacing(self.path / _RUN_FILE) as temporary:
            temporary.write_text(json.dumps({"run": self.run, **more}, indent=1))

    def prepare(self):
        """Bring the folder into a state that LSDB can resume from."""
        from lsdb.io.to_hats import DONE_DIR_NAME, HISTOGRAM_DIR_NAME

        self.path.mkdir(parents=True, exist_ok=True)
        self.done_dir, self.hist_dir = self.path / DONE_DIR_NAME, self.path / HISTOGRAM_DIR_NAME
        if self.complete:
            # All but some partitions: the markers, which a finished catalogue has no more.
            for pixel in self.pixels:
                if name_of(pixel) not in self.failed_before and self.file(pixel).is_file():
                    mark_done(self.file(pixel), self.path, pixel, self.order)
            self.complete = False
        self.record()
        for folder in (self.done_dir, self.hist_dir):
            folder.mkdir(exist_ok=True)
        for file in self.path.rglob(".partial-*"):
            file.unlink(missing_ok=True)
        self._repair()
        self.n_before = len(self.done())

    def piece(self, pixel, first, last):
        """Return the Parquet file of some rows of a partition, until all of them are done."""
        return self.path / _PIECES / name_of(pixel) / f"{first}-{last}.parquet"

    def _repair(self):
        """Make markers and histograms agree: a process may be killed between the two."""
        done = self.done()
        for file in self.hist_dir.iterdir():
            if file.name.removesuffix("_histogram.npz") not in done:
                file.unlink(missing_ok=True)
        for pixel in self.pixels:
            name = name_of(pixel)
            if name in done and not (self.hist_dir / f"{name}_histogram.npz").is_file():
                file = self.file(pixel)
                mark_done(file if file.is_file() else None, self.path, pixel, self.order)

    @property
    def order(self):
        """Order of the histograms, as LSDB chooses it."""
        info = self.predicted.hc_structure.catalog_info
        if info.skymap_order is not None:
            return info.skymap_order
        return max(self.predicted.hc_structure.pixel_tree.get_max_depth(), 8)

    def file(self, pixel):
        """Return the Parquet file of a partition."""
        import hats

        return Path(str(hats.io.paths.pixel_catalog_file(self.path, pixel)))

    def done(self):
        """Return names of the partitions that are done."""
        return {file.name.removesuffix("_done") for file in self.done_dir.glob("*_done")}

    def finish(self, failed):
        """Write what makes the partitions a catalogue."""
        import lsdb

        # A worker of an earlier start may have lived a little longer than its client.
        self._repair()
        if not failed:
            shutil.rmtree(self.path / _PIECES, ignore_errors=True)
        done = self.done()
        pixels = [pixel for pixel in self.pixels if name_of(pixel) in done]
        if not pixels:
            raise PhotospecError(
                f"all {len(failed)} partitions failed: {next(iter(failed.values()), 'no reason')}"
            )
        catalog = self.predicted
        if len(pixels) < len(self.pixels):
            catalog = catalog.partitions[pixels]
        said = {f"photospec_{key}": _plain(value) for key, value in self.run.items()}
        for column in all_columns(self.settings):
            said[f"photospec_column_{column.name}"] = _sentence(column)
        lsdb.io.to_hats(
            catalog,
            base_catalog_path=self.path,
            catalog_name=self.path.name,
            resume=True,
            progress_bar=False,
            histogram_order=self.order,
            addl_hats_properties=said,
            error_if_empty=False,
        )
        self.n_rows = int(lsdb.open_catalog(self.path).hc_structure.catalog_info.total_rows)
        self.record(complete=True, rows=self.n_rows, failed=sorted(failed))


def _plain(value):
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sentence(column):
    return f"{column.description} [{column.unit}]" if column.unit else column.description


def write_partition(frame, path, pixel, order, metadata, root):
    """Write one partition whole, then mark it as done; the task that workers run.

    Parameters
    ----------
    frame : NestedFrame
    path : pathlib.Path
        Parquet file.
    pixel : HealpixPixel
    order : int
        Of the histogram.
    metadata : dict
        Unit and description of each column.
    root : pathlib.Path
        Of the catalogue.

    Returns
    -------
    int
        Rows.
    """
    if len(frame):
        _write(frame, path, metadata)
    mark_done(path if len(frame) else None, root, pixel, order)
    return len(frame)


def write_piece(frame, path, metadata):
    """Write some rows whole, for `merge_pieces`.

    It reads them once: the strong compression of catalogues would take four times as long as this
    one, and 4 % of the time of spectra of one candidate.

    Parameters
    ----------
    frame : NestedFrame
    path : pathlib.Path
    metadata : dict
        Unit and description of each column.

    Returns
    -------
    int
        Rows.
    """
    _write(frame, path, metadata, compression="zstd", compression_level=1)
    return len(frame)


def _write(frame, path, metadata, **options):
    """Write rows with the units and descriptions of their columns; options go before HATS's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = frame.to_pyarrow(list_struct=False, large_list=False)
    fields = [
        field.with_metadata(metadata[field.name]) if field.name in metadata else field
        for field in table.schema
    ]
    table = table.cast(pa.schema(fields, metadata=table.schema.metadata))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, **_parquet_options(table.schema) | options)


def _parquet_options(schema):
    from hats.io.file_io.file_io import get_parquet_write_table_kwargs

    return get_parquet_write_table_kwargs(schema, write_table_kwargs={})


def merge_pieces(pieces, path, pixel, order, root):
    """Make a partition of its pieces, one in memory at a time, and mark it as done.

    Parameters
    ----------
    pieces : list of pathlib.Path
        In the order of their rows.
    path, pixel, order, root
        As of `write_partition`.
    """
    import pyarrow.parquet as pq

    schema = pq.read_schema(pieces[0])
    options = _parquet_options(schema)
    n_rows = options.pop("row_group_size", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, **options) as writer,
    ):
        for piece in pieces:
            writer.write_table(pq.read_table(piece, schema=schema, partitioning=None), n_rows)
    mark_done(path, root, pixel, order)
    for piece in pieces:
        piece.unlink(missing_ok=True)


def mark_done(path, root, pixel, order):
    """Write the histogram and then the marker that LSDB knows a finished partition by.

    Parameters
    ----------
    path : pathlib.Path or None
        Parquet file of the partition; None for one without rows.
    root : pathlib.Path
        Of the catalogue.
    pixel : HealpixPixel
    order : int
        Of the histogram.
    """
    import pyarrow.parquet as pq
    from hats.io.file_io import get_upath
    from hats.pixel_math import spatial_index_to_healpix
    from hats.pixel_math.sparse_histogram import SparseHistogram
    from lsdb.io.to_hats import write_done_pixel, write_histogram

    where, counts = np.array([], int), np.array([], int)
    if path is not None:
        index = pq.read_table(path, columns=["_healpix_29"]).column(0).to_numpy()
        where, counts = np.unique(
            spatial_index_to_healpix(index, target_order=order), return_counts=True
        )
    root = get_upath(root)
    write_histogram(SparseHistogram(where, counts, order), root, pixel)
    write_done_pixel(root, pixel)
