"""Keep a number and its error in one line: in narrow cells they would stand in three."""

from docutils import nodes


def join(app, doctree, docname):
    """Put spaces that do not break around the sign."""
    for text in doctree.findall(nodes.Text):
        if " ± " in text and not isinstance(text.parent, nodes.literal_block):
            text.parent.replace(text, nodes.Text(text.replace(" ± ", "\u00a0±\u00a0")))


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-resolved", join)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
