"""Things found by name, to which other packages can add: samplers, surveys, weight formats.

A package adds its own by an entry point in its ``pyproject.toml``::

    [project.entry-points."photospec.plugins"]
    mine = "my_package"

Importing ``my_package`` has to call ``register``. That import happens only when a name is
asked for that is not registered yet.
"""

import pkgutil
import tomllib
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from photospec.errors import InputError

__all__ = ["GROUP", "Registry", "load_plugins"]

#: Group of the entry points that name modules which register something.
GROUP = "photospec.plugins"
# Of a checkout that is on the path without being installed; absent elsewhere.
_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


class Registry:
    """Objects by name, in the order in which they were registered.

    Parameters
    ----------
    kind : str
        What errors call a name, such as ``"sampler"``.

    Examples
    --------
    >>> from photospec.utils.registry import Registry
    >>> shapes = Registry("shape")
    >>> shapes.register("square", "math:sqrt")
    >>> shapes.get("square")(16.0)
    4.0
    >>> "circle" in shapes
    False
    >>> shapes.get("circle")
    Traceback (most recent call last):
    ...
    photospec.errors.InputError: shape: expected one of square, got 'circle'
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._objects = {}

    def register(self, name: str, obj: object, *, overwrite: bool = False) -> None:
        """Add an object.

        Parameters
        ----------
        name : str
        obj : object or str
            The object, or where to import it from when it is asked for, ``"module:name"``:
            so a package can register what needs an optional dependency.
        overwrite : bool
            Replace what has the name.

        Raises
        ------
        InputError
            If the name is taken by something else.
        """
        if not overwrite and self._objects.get(name, obj) != obj:
            raise InputError(f"{self.kind}: expected a new name, got {name!r} which is registered")
        self._objects[name] = obj

    def get(self, name: str) -> Any:
        """Return the object of a name, if need be after importing the plugins.

        Parameters
        ----------
        name : str

        Returns
        -------
        object

        Raises
        ------
        InputError
            Naming what is registered, and plugins that could not be imported.
        """
        if name not in self:
            failed = "".join(f"; plugin {p}: {reason}" for p, reason in load_plugins().items())
            raise InputError(
                f"{self.kind}: expected one of {', '.join(self._objects)}, got {name!r}{failed}"
            )
        found = self._objects[name]
        return pkgutil.resolve_name(found) if isinstance(found, str) else found

    __getitem__ = get

    def __delitem__(self, name):
        del self._objects[name]

    def __contains__(self, name):
        if not isinstance(name, str):
            return False
        if name not in self._objects:
            load_plugins()
        return name in self._objects

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of their registration, those of plugins too."""
        load_plugins()
        return tuple(self._objects)

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)

    def __repr__(self):
        return f"<Registry of {self.kind}: {', '.join(self._objects)}>"


@lru_cache(maxsize=1)
def load_plugins() -> dict[str, str]:
    """Import every module that an entry point of `GROUP` names, once per process.

    Returns
    -------
    dict of str
        Why plugins could not be imported, by their names.
    """
    failed = {}
    for point in _plugins():
        try:
            point.load()
        except ImportError as error:
            failed[point.name] = str(error)
    return failed


def _plugins():
    """Return entry points of installed packages and, in a checkout, of its ``pyproject.toml``."""
    found = {point.value: point for point in entry_points(group=GROUP)}
    if _PYPROJECT.is_file():
        project = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8")).get("project", {})
        for name, value in project.get("entry-points", {}).get(GROUP, {}).items():
            found.setdefault(value, EntryPoint(name, value, GROUP))
    return list(found.values())
