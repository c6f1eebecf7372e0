"""The function that does the work: a partition of a catalogue in, its rows with predictions out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import nested_pandas as npd
import numpy as np
import pandas as pd
import pyarrow as pa

from photospec.errors import PhotospecWarning
from photospec.networks.devices import network_threads
from photospec.survey.columns import (
    QUANTILES,
    SurveySettings,
    empty_frame,
    kept_columns,
    new_columns,
    rounded,
)
from photospec.utils.parallel import one_thread

if TYPE_CHECKING:
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["predict_partition"]

# Images that are read, predicted and measured together. With eight candidates their spectra are
# 18 MB: enough to keep networks busy, and memory does not grow with the partition.
_AT_ONCE = 64
#: Column of catalogues made here, and flag: the row has a place, but no known position.
NO_POSITION = "no_position"


def predict_partition(
    frame: npd.NestedFrame,
    spectrograph: PhotoSpectrograph,
    source: object = None,
    settings: SurveySettings | None = None,
    *,
    progress: Callable[[int], object] | None = None,
    **options: object,
) -> npd.NestedFrame:
    """Predict, and measure if wanted, for the rows of one partition.

    Parameters
    ----------
    frame : NestedFrame
        Rows with identifiers and positions, and images or what `source` needs to find them.
    spectrograph : PhotoSpectrograph
        Goes to other processes as its path, and is read there once.
    source : object, optional
        Of `photospec.survey.sources`; by default `ImageColumn()`, a column ``pixels``.
    settings : SurveySettings, optional
        Or its attributes as keyword arguments: ``what="photoz"``, ``seed=1``.
    progress : callable, optional
        Called with the number of rows just done.

    Returns
    -------
    NestedFrame
        Identifier (as ``image``), position, the columns to keep, and those of
        `photospec.survey.columns.new_columns`. A row's numbers depend on its image, its
        identifier and the seed, not on the rows beside it. A row whose image cannot be read or
        used has NaN, and the reason in ``flags``.

    Examples
    --------
    >>> import lsdb
    >>> from photospec import PhotoSpectrograph
    >>> from photospec.survey import predict_partition
    >>> catalog = lsdb.open_catalog("cutouts")  # doctest: +SKIP
    >>> found = catalog.map_partitions(  # doctest: +SKIP
    ...     predict_partition, PhotoSpectrograph.load(), what="photoz"
    ... )
    """
    if source is None:
        from photospec.survey.sources import ImageColumn

        source = ImageColumn()
    settings = SurveySettings(**options) if settings is None else settings
    empty = empty_frame(frame, settings)  # refuses what lacks columns
    if not len(frame):
        return empty
    with network_threads(1), one_thread(), warnings.catch_warnings():
        # What was mended is told by the image's flags, row by row.
        warnings.simplefilter("ignore", PhotospecWarning)
        rows = _Rows(len(frame), settings)
        for batch in _batches(frame, spectrograph, source, settings):
            rows.failed(batch.reasons)
            if batch.images:
                _predict(rows, batch, spectrograph, settings)
            if progress is not None:
                progress(batch.n)
    return rows.beside(frame, settings)


class _Batch:
    """Images of some rows: prepared ones with their row numbers, and why others failed."""

    def __init__(self, n):
        self.n = n
        self.images, self.rows, self.reasons = [], [], {}


def _batches(frame, spectrograph, source, settings):
    """Read batch after batch, the next one while the last is worked on."""
    order = np.asarray(source.order(frame))
    parts = [order[i : i + _AT_ONCE] for i in range(0, len(order), _AT_ONCE)]
    # As arrays, of which one row's value is had at a fraction of the cost.
    columns = {name: frame[name].array for name in frame.columns}
    if frame.index.name is not None:
        columns[frame.index.name] = frame.index.array
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_read, columns, parts[0], source, settings)
        for number in range(len(parts)):
            read = waiting.result()
            if number + 1 < len(parts):
                waiting = pool.submit(_read, columns, parts[number + 1], source, settings)
            yield _prepare(read, spectrograph)


def _read(columns, rows, source, settings):
    """Return row numbers, their images or None, and why there is none: a list of the three.

    Another thread does that, as files may be slow. To prepare images is work, which there would
    cost a quarter of the networks' time for the two threads' turns.
    """
    found = []
    for row in map(int, rows):
        values = {name: column[row] for name, column in columns.items()}
        try:
            image = source.read(values)
            image.meta["identifier"] = str(values[settings.identifier])
            ebv = values.get("galactic_ebv")
            if ebv is not None and np.isfinite(ebv):
                image.meta.setdefault("galactic_ebv", float(ebv))
        except MemoryError:
            raise
        except Exception as error:  # whatever is wrong with an image, its row stays
            found.append((row, None, _reason(error)))
        else:
            found.append((row, image, ""))
    return found


def _reason(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return f"unusable: {text.replace(';', ',')}"


def _prepare(read, spectrograph):
    """Return the batch of images read."""
    batch = _Batch(len(read))
    for row, image, reason in read:
        if not reason:
            try:
                batch.images.append(spectrograph.prepare(image))
                batch.rows.append(row)
            except MemoryError:
                raise
            except Exception as error:
                reason = _reason(error)
        if reason:
            batch.reasons[row] = reason
    return batch


class _Rows:
    """Columns of the output as they fill up."""

    def __init__(self, n, settings):
        self.columns = new_columns(settings)
        self.numbers = {
            c.name: np.full(n, np.nan) for c in self.columns if pa.types.is_floating(c.type)
        }
        self.lists = {c.name: [None] * n for c in self.columns if c.name not in self.numbers}
        self.lists["flags"] = [[] for _ in range(n)]

    def failed(self, reasons):
        """Make rows of images that cannot be used."""
        for row, reason in reasons.items():
            self.lists["flags"][row] = [reason]

    def note(self, row, flags):
        """Add warnings of a row."""
        self.lists["flags"][row] += [flag for flag in flags if flag]

    def beside(self, frame, settings):
        """Return the output: columns of the input and these."""
        kept = kept_columns(frame.columns, settings)
        made = npd.NestedFrame(frame[kept]).rename(columns={settings.identifier: "image"})
        made["image"] = made["image"].astype(str).astype(pd.ArrowDtype(pa.string()))
        if NO_POSITION in frame.columns:
            for row in np.flatnonzero(np.asarray(frame[NO_POSITION], bool)):
                self.lists["flags"][row].append(NO_POSITION)
        flags = ["; ".join(flags) for flags in self.lists["flags"]]
        for column in self.columns:
            if column.name in self.numbers:
                values = pa.array(self.numbers[column.name], column.type, from_pandas=False)
            else:
                values = flags if column.name == "flags" else self.lists[column.name]
                values = pa.array(values, column.type)
            series = pd.Series(values.to_pandas(types_mapper=pd.ArrowDtype).array, made.index)
            made[column.name] = series.astype(column.dtype)
        return npd.NestedFrame(made)


def _predict(rows, batch, spectrograph, settings):
    """Fill the rows of images that can be used."""
    images = batch.images
    if spectrograph.draws_redshifts:
        density = spectrograph.redshift_density(images)
        _fill_density(rows, batch.rows, density)
        flags, score = density.flags, density.ood_score
    else:
        flags, score = spectrograph.flags(images), spectrograph.ood_score(images)
    rows.numbers["ood_score"][batch.rows] = score
    for row, found in zip(batch.rows, flags, strict=True):
        rows.note(row, found)
    if settings.what == "photoz":
        return
    options = {"seed": settings.seed}
    if settings.what == "measure" or settings.spectra == "all":
        candidates = list(spectrograph.sample_each(images, settings.n_candidates, **options))
        best = [one.best_index for one in candidates]
        rows.numbers["similarity"][batch.rows] = [
            one.similarity[i] for one, i in zip(candidates, best)
        ]
        if candidates[0].redshift is not None:
            drawn = [one.redshift[i] for one, i in zip(candidates, best)]
            rows.numbers["redshift_drawn"][batch.rows] = drawn
        if settings.spectra != "none":
            chosen = [slice(None) if settings.spectra == "all" else [i] for i in best]
            for row, one, these in zip(batch.rows, candidates, chosen, strict=True):
                flux = _fluxes(one.spectra)[these]
                rows.lists["spectra"][row] = _spectra(flux, settings.precision)
        if settings.what == "measure":
            _measure(rows, batch.rows, [one.spectra for one in candidates], best)
        return
    found = spectrograph.predict(images, n_candidates=settings.n_candidates, **options)
    rows.numbers["similarity"][batch.rows] = found.meta["similarity"]
    drawn = [np.nan if z is None else z for z in found.meta["drawn_redshift"]]
    rows.numbers["redshift_drawn"][batch.rows] = drawn
    if settings.spectra == "best":
        # As an array: to take one spectrum of many as an object costs a tenth of drawing it.
        for row, flux in zip(batch.rows, _fluxes(found), strict=True):
            rows.lists["spectra"][row] = _spectra(flux[None], settings.precision)


def _fill_density(rows, places, density):
    """Fill in the numbers of the redshift densities.

    In arrays of one length: the shape of an array can decide how NumPy adds, and thereby the
    last bit.
    """
    n = len(density)
    filled = density[np.minimum(np.arange(_AT_ONCE), n - 1)]
    numbers = {"redshift_mean": filled.mean[:n], "redshift_std": filled.std[:n]}
    numbers["redshift_mode"] = filled.mode[:n]
    quantiles = filled.quantile(list(QUANTILES.values()))[:n]
    numbers |= dict(zip(QUANTILES, quantiles.T, strict=True))
    for name, values in numbers.items():
        rows.numbers[name][places] = values
    for row, weight, centre, width in zip(
        places, density.weight, density.centre, density.width, strict=True
    ):
        mixture = {"weight": weight, "centre": centre, "width": width}
        rows.lists["redshift_mixture"][row] = mixture


def _fluxes(spectrum):
    """Return the fluxes (n, n_wave) of spectra."""
    from photospec.spectrum import FLUX_UNIT

    return np.atleast_2d(spectrum.flux.to_value(FLUX_UNIT))


def _spectra(flux, precision):
    """Return fluxes (n_candidates, n_wave) as an entry of the nested column."""
    from photospec.spectrum import WAVELENGTH

    n, length = flux.shape
    return {
        "candidate": np.repeat(np.arange(n, dtype=np.int16), length),
        "wavelength": np.tile(WAVELENGTH.astype(np.float32), n),
        "flux": rounded(flux, precision).ravel(),
    }


def _measure(rows, places, spectra, best):
    """Measure all candidates of some galaxies."""
    from photospec.analysis import combine_candidates, measure_properties
    from photospec.analysis.candidates import said_of_agn

    table = measure_properties(spectra, n_processes=1)
    table = combine_candidates(table, best, **said_of_agn(spectra, len(best)))
    for name in table.colnames:
        own = {"redshift": "redshift_spectrum", "redshift_error": "redshift_spectrum_error"}
        column = own.get(name, name)
        if column in rows.numbers:
            values = table[name]
            values = getattr(values, "value", values)
            values = np.ma.filled(np.ma.asarray(getattr(values, "unmasked", values), float), np.nan)
            hidden = np.asarray(getattr(table[name], "mask", False))
            rows.numbers[column][places] = np.where(hidden, np.nan, values)
    hidden = np.broadcast_to(getattr(table["bpt_class"], "mask", False), len(table))
    for row, name, unknown, flags in zip(
        places, np.asarray(table["bpt_class"]), hidden, table["flags"], strict=True
    ):
        rows.lists["bpt_class"][row] = None if unknown else str(name)
        rows.note(row, str(flags).split("; "))
    if "agn" in table.colnames:  # some weights have no threshold
        for row, name in zip(places, np.ma.asarray(table["agn"]).tolist(), strict=True):
            rows.lists["agn"][row] = name
