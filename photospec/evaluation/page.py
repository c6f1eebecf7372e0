"""A report as one HTML page that needs nothing beside it, with its tables and figures as files.

The page holds no script and loads nothing: figures lie in it as PNG, a panel each, so that a
telephone shows them one below the other in the size of the text.
"""

import base64
import json
import os
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from photospec.evaluation.parts import Plot
from photospec.utils.files import replacing

__all__ = ["write_page", "write_tables"]


def write_tables(chapters, folder):
    """Write every table as ``<name>.ecsv``; files of the same names are replaced.

    Parameters
    ----------
    chapters : sequence of Chapter
    folder : path-like
        Made if need be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in chapters:
        for section in chapter.sections:
            with replacing(folder / f"{section.name}.ecsv") as temporary:
                section.to_table().write(temporary, format="ascii.ecsv")


def write_page(path, chapters, provenance, *, title, subtitle="", folder=None):
    """Write the page, tables as ``<name>.ecsv`` and figures as ``<name>.pdf``.

    Parameters
    ----------
    path : path-like
        ``.html``.
    chapters : sequence of Chapter
    provenance : dict of str to dict
        What it was made from: title of a box -> facts by name.
    title, subtitle : str
    folder : path-like, optional
        Of tables and figures; by default that of the page.
    """
    import jinja2

    path = Path(path)
    folder = path.parent if folder is None else Path(folder)
    write_tables(chapters, folder)
    beside = _relative(folder, path.parent)
    template = (files("photospec") / "data" / "report.html.jinja").read_text(encoding="utf-8")
    # Names of files and columns come from the user's data: everything is escaped.
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = environment.from_string(template).render(
        title=title,
        subtitle=subtitle,
        version=version("photospec"),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        provenance={
            name: {key: _plain(value) for key, value in facts.items()}
            for name, facts in provenance.items()
        },
        chapters=[
            {
                "name": chapter.name,
                "title": chapter.title,
                "text": chapter.text,
                "parts": [_part(part, folder, beside) for part in chapter.parts],
            }
            for chapter in chapters
        ],
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _relative(folder, start):
    relative = Path(os.path.relpath(folder, start)).as_posix()
    return "" if relative == "." else f"{relative}/"


def _part(part, folder, beside):
    if isinstance(part, Plot):
        with replacing(folder / f"{part.name}.pdf") as temporary:
            images = part.render(temporary)
        return {
            "kind": "figure",
            "name": part.name,
            "caption": part.caption,
            "file": f"{beside}{part.name}.pdf",
            "images": [(title, base64.b64encode(data).decode()) for title, data in images],
        }
    head, *rows = part.cells()
    return {
        "kind": "table",
        "title": part.title,
        "head": head,
        "rows": rows,
        "note": part.note,
        "file": f"{beside}{part.name}.ecsv",
    }


def _plain(value):
    return value if isinstance(value, str) else json.dumps(value, default=str)
