"""Packages that come with an extra of photospec: where one is missing, the error names the extra.

Predicting needs none of them. Each is imported where it is used, inside `optional_imports`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from photospec.errors import MissingPackageError

__all__ = ["EXTRAS", "optional_imports"]

#: Module -> the extra that installs it; a test compares it with ``pyproject.toml``.
EXTRAS = {
    "bagpipes": "measure",
    "ppxf": "measure",
    "galsim": "simulate",
    "astroquery": "archive",
    "requests": "archive",
    "urllib3": "archive",
    "ignite": "train",
    "sklearn": "train",
    "qp": "qp",
    "jinja2": "report",
    "huggingface_hub": "hub",
    "faiss": "search",
    "dask": "survey",
    "distributed": "survey",
    "hats": "survey",
    "lsdb": "survey",
    "nested_pandas": "survey",
    "pandas": "survey",
    "pyarrow": "survey",
    "zarr": "survey",
    "shtab": "completion",
}


@contextmanager
def optional_imports() -> Iterator[None]:
    """Turn the failure of an import inside the block into one line that says what to install.

    Failures of other imports, a module of photospec's own say, pass through as they are.

    Raises
    ------
    MissingPackageError
        A package of `EXTRAS` is not installed.

    Examples
    --------
    >>> from photospec.utils.optional import optional_imports
    >>> with optional_imports():
    ...     import galsim
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        raise missing(name) from None


def missing(name):
    """Say which extra installs a module.

    Parameters
    ----------
    name : str
        One of `EXTRAS`.

    Returns
    -------
    MissingPackageError
        To be raised.
    """
    error = MissingPackageError(
        f"{name}: expected the package to be installed, got none; "
        f'pip install "photospec[{EXTRAS[name]}]"'
    )
    error.name = name  # as other import errors have it
    return error
