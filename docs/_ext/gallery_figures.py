"""Put each figure of the gallery into a box of its own, which phones let scroll (phone.css)."""

from docutils import nodes
from sphinx_gallery.directives import imgsgnode


def box(app, doctree):
    """Wrap figures; those that stand side by side are in a list and stay there."""
    for figure in list(doctree.findall(imgsgnode)):
        if isinstance(figure.parent, nodes.section | nodes.document):
            boxed = nodes.container(classes=["gallery-figure"])
            figure.replace_self(boxed)
            boxed += figure


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-read", box)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
