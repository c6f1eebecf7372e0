"""Catalogues larger than one machine: prediction and measurement on Dask, with LSDB and HATS.

`open_catalogue` makes an LSDB catalogue of what there is, `predict_catalogue` adds the columns of
a prediction to it, lazily, and `run_survey` writes the result so that it survives what happens to
long runs. `predict_partition` is the function that does the work, for use by hand in LSDB's
``map_partitions``.
"""

from importlib import import_module

from photospec.utils.optional import optional_imports

# Loaded on first use: LSDB and distributed cost seconds.
_LAZY = {
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
__all__ = sorted(_LAZY)  # noqa: PLE0605


def __getattr__(name):
    if name in _LAZY:
        with optional_imports():
            return getattr(import_module(f"photospec.survey.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'photospec.survey' has no attribute {name!r}")


def __dir__():
    return __all__
