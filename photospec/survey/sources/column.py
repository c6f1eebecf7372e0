"""Images in a column of the catalogue itself.

A source is small and picklable; it opens files in the process that reads. Its ``read`` takes the
row's columns as a dictionary and returns an NDData; ``order`` tells in which order the rows of a
partition are read fastest, and ``columns`` names those that are images.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.nddata import InverseVariance, NDData

from photospec.errors import InputError

__all__ = ["ImageColumn"]

#: Column that tells a source which of its images belongs to a row.
SOURCE_ROW = "source_row"


@dataclass(frozen=True)
class ImageColumn:
    """Images in a column of the catalogue: fixed-size or nested lists of pixels.

    Or structures of ``flux`` (or ``array``), ``band`` and, where they are there, ``scale``,
    ``ivar`` and ``mask`` (not zero where bad), as the Multimodal Universe has them, which tell
    bands and scale themselves.

    Attributes
    ----------
    column : str
    bands : tuple of str
    unit : str
    pixel_scale : float
        Arcsec.
    shape : tuple of int, optional
        Of a flat list; square images of the bands by default.
    """

    column: str = "pixels"
    bands: tuple = tuple("ugriz")
    unit: str = "nanomaggy"
    pixel_scale: float = 0.396
    shape: tuple | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are images, and not wanted in the output."""
        return (self.column,)

    def order(self, frame: pd.DataFrame) -> range:
        """Return rows in the order in which they are read fastest."""
        return range(len(frame))

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row.

        Parameters
        ----------
        row : dict

        Returns
        -------
        NDData
        """
        from photospec.image.units import parse_unit

        value = row[self.column]
        if value is None or value is pd.NA:
            raise InputError(f"{self.column}: expected pixels, got none")
        if isinstance(value, pd.DataFrame | dict):
            return self._structure(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return self._structure({name: [band[name] for band in value] for name in value[0]})
        try:
            data = np.asarray(value, np.float32)
        except (ValueError, TypeError):
            data = np.array([[list(line) for line in band] for band in value], np.float32)
        n_bands = len(self.bands)
        shape = self.shape
        if shape is None and data.ndim == 1:
            side = round((data.size / n_bands) ** 0.5)
            shape = (n_bands, side, side)
        if shape is not None:
            if data.size != math.prod(shape):
                raise InputError(
                    f"{self.column}: expected {' x '.join(map(str, shape))} pixels, got {data.size}"
                )
            data = data.reshape(shape)
        meta = {"bands": tuple(self.bands), "pixel_scale": self.pixel_scale * u.arcsec}
        return NDData(data, unit=parse_unit(self.unit), meta=meta)

    def _structure(self, value):
        """Return the image of a structure of bands."""
        from photospec.image.units import parse_unit

        pixels = next((name for name in ("flux", "array") if name in value), None)
        if pixels is None or "band" not in value:
            raise InputError(
                f"{self.column}: expected flux and band in it, got {', '.join(map(str, value))}"
            )

        def planes(name):
            return np.array([np.array(list(plane), np.float32) for plane in value[name]])

        # "DES-G" is the band g.
        bands = tuple(str(band).rsplit("-", 1)[-1].lower() for band in value["band"])
        scale = self.pixel_scale
        if "scale" in value:
            scale = float(np.mean([float(x) for x in value["scale"]]))
        data, unit = planes(pixels), parse_unit(self.unit)
        mask, uncertainty = ~np.isfinite(data), None
        if "mask" in value:
            mask |= planes("mask") != 0
        if "ivar" in value:
            ivar = planes("ivar")
            mask |= ~(ivar > 0)
            uncertainty = InverseVariance(np.where(mask, 0, ivar), unit=unit**-2)
        return NDData(
            np.where(mask, 0, data),
            uncertainty=uncertainty,
            mask=mask,
            unit=unit,
            meta={"bands": bands, "pixel_scale": scale * u.arcsec},
        )
