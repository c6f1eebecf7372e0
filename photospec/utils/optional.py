"""Packages that come with an extra of photospec: where one is missing, the error names the extra.

Predicting needs none of them. Each is imported where it is used, inside `optional_imports`; rooms
that need them, or other packages that take seconds to import, load their names by `lazy_names`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from photospec.errors import MissingPackageError

__all__ = ["EXTRAS", "lazy_names", "optional_imports"]

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


def lazy_names(package, homes):
    """Make names of a package that are loaded from its modules on first use (PEP 562).

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : dict of str
        Name -> module that defines it, relative to the package.

    Returns
    -------
    load : callable
        For ``__getattr__``.
    listed : callable
        For ``__dir__``.
    names : list of str
        For ``__all__``.

    Examples
    --------
    >>> from photospec.utils.optional import lazy_names
    >>> load, _, names = lazy_names("photospec", {"LINES": "lines"})
    >>> names, load("LINES")["halpha"].wavelength
    (['LINES'], 6564.614)
    """
    names = sorted(homes)

    def load(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with optional_imports():
            return getattr(import_module(f"{package}.{homes[name]}"), name)

    return load, lambda: names, names


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
