"""Tables and figures as files."""

from photospec.utils.files import replacing

__all__ = ["FIGURE_SUFFIXES", "TABLE_SUFFIXES", "draw", "write_table"]

TABLE_SUFFIXES = (".ecsv", ".fits")
FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")

# A picture of more galaxies would be too tall for the format, and for the reader.
_MOST_IN_ONE_PICTURE = 100


def write_table(table, path):
    """Write a table in the format that the file name's ending stands for.

    Parameters
    ----------
    table : astropy.table.QTable
        The table.
    path : pathlib.Path
        Ends in one of `TABLE_SUFFIXES`.
    """
    formats = {".ecsv": "ascii.ecsv", ".fits": "fits"}
    table.write(path, format=formats[path.suffix.lower()])


def draw(path, rows):
    """Draw galaxies into a file, in pages where it is a PDF.

    Parameters
    ----------
    path : pathlib.Path
        Ends in one of `FIGURE_SUFFIXES`.
    rows : sequence of photospec.figures.GalaxyRow
        The galaxies.
    """
    import warnings

    from photospec.errors import PhotospecWarning
    from photospec.figures import galaxy_figures, save_figure

    paged = path.suffix.lower() == ".pdf"
    if not paged and len(rows) > _MOST_IN_ONE_PICTURE:
        warnings.warn(
            f"{path} shows the first {_MOST_IN_ONE_PICTURE} of {len(rows)} galaxies; "
            "a .pdf has pages for all",
            PhotospecWarning,
            stacklevel=2,
        )
        rows = rows[:_MOST_IN_ONE_PICTURE]
    with replacing(path) as temporary:
        save_figure(galaxy_figures(rows, paged=paged), temporary)
