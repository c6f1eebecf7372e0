"""Directive ``tables-of-files``: the columns and formats of our files, listed from the code."""

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList


def property_columns():
    """Rows (column, unit, meaning) of a table of properties; errors are left out."""
    from photospec.analysis.candidates import combine_candidates
    from photospec.analysis.properties import Options, assemble
    from photospec.cli.tables import ORIGIN_COLUMNS

    options = Options.checked((0, 0.8), "bc03", 0, 0)
    agn = {"agn_threshold": 0.0, "agn_score": [0.0], "agn_probability": [0.5]}
    table = combine_candidates(assemble([{"flags": []}] * 3, options), [0], **agn)
    rows = [row for row in ORIGIN_COLUMNS if row[0] in ("file", "image", "ra", "dec")]
    rows += [
        (name, str(table[name].unit or ""), table[name].info.description)
        for name in table.colnames
        if not name.endswith("_error")
    ]
    return rows + [row for row in ORIGIN_COLUMNS if row[0] not in ("file", "image", "ra", "dec")]


def redshift_columns():
    """Rows of a table of ``photospec photoz``."""
    from photospec.cli.photoz import COLUMNS

    return COLUMNS


def object_columns():
    """Rows of the extension OBJECTS of a file of spectra."""
    from photospec.spectrum.own_files import OBJECT_COLUMNS

    return [(name, str(unit or ""), text) for name, (_, unit, text) in OBJECT_COLUMNS.items()]


def table_formats():
    """Rows (ending, what it holds) of the formats of tables."""
    from photospec.utils.tables import TABLE_FORMATS

    return [(ending, text) for ending, (_, text) in TABLE_FORMATS.items()]


KINDS = {
    "properties": (("Column", "Unit", "Meaning"), property_columns),
    "redshifts": (("Column", "Unit", "Meaning"), redshift_columns),
    "objects": (("Column", "Unit", "Meaning"), object_columns),
    "formats": (("Ending", "What it holds"), table_formats),
}


def listing(kind):
    """Write a list-table in reStructuredText."""
    head, rows = KINDS[kind]
    lines = [".. list-table::", "   :header-rows: 1", "   :class: words", ""]
    for row in (head, *rows()):
        first = row[0] if row is head else f"``{row[0]}``"
        for number, cell in enumerate((first, *row[1:])):
            lines.append(f"   {'* -' if number == 0 else '  -'} {cell}".rstrip())
    return lines


class TablesOfFiles(Directive):
    """Insert one of `KINDS`."""

    required_arguments = 1

    def run(self):
        """Parse the listing in place of the directive."""
        node = nodes.container()
        self.state.nested_parse(StringList(listing(self.arguments[0]), "columns"), 0, node)
        return node.children


def setup(app):
    """Tell Sphinx of the directive."""
    app.add_directive("tables-of-files", TablesOfFiles)
    return {"parallel_read_safe": True}
