"""Numbers with their bootstrap errors, and tables of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from astropy.table import Table

__all__ = ["Section", "Value", "bootstrap", "write_sections"]


@dataclass(frozen=True)
class Value:
    """A number with its error, which decides how many digits are written.

    Attributes
    ----------
    value, error : float
    """

    value: float
    error: float

    def __str__(self):
        if not np.isfinite(self.value):
            return "-"
        if not self.error > 0:  # no spread, or none known
            return f"{self.value:.3g}"
        decimals = int(np.clip(1 - np.floor(np.log10(self.error)), 0, 4))
        return f"{self.value:.{decimals}f} ± {self.error:.{decimals}f}"


def bootstrap(statistic, *columns, n_bootstrap=200, seed=0):
    """Return the value of a statistic with the standard deviation that resampled galaxies give.

    Parameters
    ----------
    statistic : callable
        Of the columns; returns a number.
    *columns : array_like (n, ...)
        One row per galaxy; resampled together.
    n_bootstrap : int
    seed : int

    Returns
    -------
    Value
        NaN where there are no galaxies.
    """
    columns = [np.asarray(column) for column in columns]
    n = len(columns[0])
    if n == 0:
        return Value(np.nan, np.nan)
    rng = np.random.default_rng(seed)
    rows = rng.integers(n, size=(n_bootstrap, n))
    draws = np.array([statistic(*(column[chosen] for column in columns)) for chosen in rows])
    draws = draws[np.isfinite(draws)]
    error = float(np.std(draws)) if len(draws) > 1 else np.nan
    return Value(float(statistic(*columns)), error)


@dataclass(frozen=True)
class Section:
    """One table of a card.

    Attributes
    ----------
    name : str
        Of its files.
    title : str
    rows : list of dict
        Column -> Value, number or text; the first column names the row.
    note : str
        What the numbers are: sample, definitions.
    """

    name: str
    title: str
    rows: list
    note: str = ""

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def cells(self) -> list[list[str]]:
        """Return the text of the table, header first: list of lists."""
        columns = self.columns
        return [columns, *([_text(row.get(name)) for name in columns] for row in self.rows)]

    def to_table(self) -> Table:
        """Return an astropy Table with a column ``<name> error`` beside each of Values."""
        table = Table()
        for name in self.columns:
            cells = [row.get(name) for row in self.rows]
            if any(isinstance(cell, Value) for cell in cells):
                for label, part in ((name, "value"), (f"{name} error", "error")):
                    table[label] = [float(getattr(cell, part, np.nan)) for cell in cells]
            else:
                table[name] = ["" if cell is None else cell for cell in cells]
        table.meta["title"], table.meta["note"] = self.title, self.note
        return table

    def to_rst(self) -> str:
        """Return the table as reStructuredText."""
        # Bars would be substitutions.
        cells = [[cell.replace("|", "\\|") for cell in row] for row in self.cells()]
        width = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        bar = "  ".join("=" * w for w in width)
        # An empty first cell would join a row to the one above.
        lines = [
            "  ".join((c or "\\").ljust(w) for c, w in zip(row, width)).rstrip() for row in cells
        ]
        table = "\n".join([bar, lines[0], bar, *lines[1:], bar])
        return table.replace(" \n", "\n") + (f"\n\n{self.note}\n" if self.note else "\n")

    def __str__(self):
        cells = self.cells()
        width = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, width)).rstrip() for row in cells]
        return "\n".join([self.title, "-" * len(self.title), *lines, self.note, ""])


def _text(cell):
    if isinstance(cell, float | np.floating):
        return f"{cell:.3g}" if np.isfinite(cell) else "-"
    return "" if cell is None else str(cell)


def write_sections(sections: Sequence[Section], folder: str | PathLike) -> None:
    """Write ``<name>.ecsv`` and ``<name>.inc`` (reStructuredText) of each, and ``card.txt``.

    Parameters
    ----------
    sections : sequence of Section
    folder : path-like
        Made if need be; files of the same names are replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        section.to_table().write(folder / f"{section.name}.ecsv", overwrite=True)
        (folder / f"{section.name}.inc").write_text(section.to_rst())
    (folder / "card.txt").write_text("\n".join(map(str, sections)))
