"""Where the images of a catalogue's rows come from.

In a column of the catalogue (`ImageColumn`), of Parquet files that are too large to hold it
(`ParquetSource`, `HatsSource`); a file each (`FileSource`); a file of many, by number or identifier
(`PairsSource`, `ZarrSource`, `MultimodalSource`); SDSS frames, by position (`FrameSource`).
"""

from photospec.survey.sources.column import SOURCE_ROW, ImageColumn
from photospec.survey.sources.files import (
    FileSource,
    MultimodalSource,
    PairsSource,
    ZarrSource,
    identifier_column,
    open_zarr,
)
from photospec.survey.sources.frames import (
    FrameSource,
    find_fields,
    frame_fields,
    holds_fields,
)
from photospec.survey.sources.parquet import HatsSource, ParquetSource

__all__ = [
    "SOURCE_ROW",
    "FileSource",
    "FrameSource",
    "HatsSource",
    "ImageColumn",
    "MultimodalSource",
    "PairsSource",
    "ParquetSource",
    "ZarrSource",
    "find_fields",
    "frame_fields",
    "holds_fields",
    "identifier_column",
    "open_zarr",
]
