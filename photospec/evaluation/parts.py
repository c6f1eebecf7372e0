"""What a report is made of: chapters of tables (`Section`) and figures (`Plot`)."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from photospec.evaluation.value import Section

__all__ = ["COLOURS", "Chapter", "Panel", "Plot"]

#: Colours of answers in figures: distinct for the colour-blind (Tol 2021, "bright").
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
# Inches: a panel is as wide as a phone, whose text then has the size of the page's.
_WIDTH, _HEIGHT, _DPI = 4.0, 3.1, 170
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    title : str
    draw : callable
        Given axes, draws on them.
    """

    title: str
    draw: Callable


@dataclass(frozen=True)
class Plot:
    """A figure of one or more panels.

    Attributes
    ----------
    name : str
        Of its file.
    caption : str
    panels : list of Panel
    """

    name: str
    caption: str
    panels: list

    def figure(self, columns: int = 3) -> Figure:
        """Return all panels on a page, a `matplotlib.figure.Figure`."""
        import matplotlib as mpl
        from matplotlib.figure import Figure

        columns = min(columns, len(self.panels))
        lines = int(np.ceil(len(self.panels) / columns))
        with mpl.rc_context(_STYLE):
            size = _WIDTH * columns, _HEIGHT * lines
            figure = Figure(figsize=size, layout="constrained")
            axes = np.ravel(figure.subplots(lines, columns, squeeze=False))
            for one, panel in zip(axes, self.panels):
                _draw(panel, one)
            for one in axes[len(self.panels) :]:
                one.set_axis_off()
        return figure

    def render(self, path: str | PathLike | None = None) -> list[tuple[str, bytes]]:
        """Return each panel as the bytes of a PNG, list of (title, bytes).

        Parameters
        ----------
        path : path-like, optional
            A PDF that gets the panels too, a page each.
        """
        import matplotlib as mpl
        from matplotlib.backends.backend_pdf import PdfPages
        from matplotlib.figure import Figure

        made = []
        with ExitStack() as stack:
            pages = None
            if path is not None:
                pages = stack.enter_context(PdfPages(path, metadata={"CreationDate": None}))
            stack.enter_context(mpl.rc_context(_STYLE))
            for panel in self.panels:
                figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
                _draw(panel, figure.subplots())
                buffer = io.BytesIO()
                figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
                made.append((panel.title, buffer.getvalue()))
                if pages is not None:
                    figure.set_layout_engine("none")  # what is laid out stays where it is
                    pages.savefig(figure)
        return made


def _draw(panel, axes):
    panel.draw(axes)
    axes.set_title(panel.title, loc="left")


@dataclass(frozen=True)
class Chapter:
    """Tables and figures on one question.

    Attributes
    ----------
    name : str
        In links.
    title : str
    text : str
        One paragraph: what is asked, how it is answered.
    parts : list of Section and Plot
    """

    name: str
    title: str
    text: str
    parts: list = field(default_factory=list)

    @property
    def sections(self) -> list[Section]:
        """Its tables."""
        return [part for part in self.parts if not isinstance(part, Plot)]

    @property
    def plots(self) -> list[Plot]:
        """Its figures."""
        return [part for part in self.parts if isinstance(part, Plot)]
