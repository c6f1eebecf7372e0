"""Catalogues larger than one machine: prediction and measurement on Dask, with LSDB and HATS.

`open_catalogue` makes an LSDB catalogue of what there is, `predict_catalogue` adds the columns of
a prediction to it, lazily, and `run_survey` writes the result so that it survives what happens to
long runs. `predict_partition` is the function that does the work, for use by hand in LSDB's
``map_partitions``.
"""

from photospec.utils.optional import lazy_names

# Loaded on first use: LSDB and distributed cost seconds.
_HOMES = {
    "FileSource": "sources",
    "FrameSource": "sources",
    "HatsSource": "sources",
    "ImageColumn": "sources",
    "MultimodalSource": "sources",
    "PairsSource": "sources",
    "ParquetSource": "sources",
    "ZarrSource": "sources",
    "SurveySettings": "columns",
    "open_catalogue": "catalogue",
    "predict_catalogue": "catalogue",
    "predict_partition": "partition",
    "run_survey": "run",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
