"""What autodoc leaves out of the API pages, and what it should.

- Settings classes (`photospec.config.setting`) list each setting with its default, limits and
  meaning, from the same metadata that a TOML file shows as comments.
- Values and defaults longer than a line are left out: a dictionary of all spectral lines is no
  signature.
- Fields of named tuples are described in the docstring of the class, not one by one.
- Types of parameters that are documented classes are links.
"""

import dataclasses
import importlib
import pkgutil
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

LONGEST_DEFAULT, LONGEST_VALUE = 60, 90


def is_settings(thing):
    """Tell whether a class is one of settings."""
    return (
        isinstance(thing, type)
        and dataclasses.is_dataclass(thing)
        and any("help" in item.metadata for item in dataclasses.fields(thing))
    )


def shorten_signature(app, what, name, obj, options, signature, returns):
    """Leave the settings to the list below the signature."""
    if is_settings(obj):
        return "(**settings)", returns
    return None


def list_settings(app, what, name, obj, options, lines):
    """Add the settings of a class at the end of its docstring."""
    if not is_settings(obj):
        return
    lines += ["", ".. rubric:: Settings", ""]
    for item in dataclasses.fields(obj):
        if item.init:
            lines += [f"``{item.name}``{_default(item)}", f"    {_meaning(item)}", ""]


def _default(item):
    default = item.default
    if item.default_factory is not dataclasses.MISSING:
        default = item.default_factory()
    if default is dataclasses.MISSING:
        return ""
    if dataclasses.is_dataclass(default):
        return f" : `{type(default).__module__}.{type(default).__name__}`"
    return f" : ``{default!r}``"


def _meaning(item):
    text = " ".join(str(item.metadata.get("help", "")).split())
    # Names in single backquotes stay references; all else is plain text.
    text = re.sub(r"([*_|\\])(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", r"\\\1", text)
    limits = []
    if "choices" in item.metadata:
        limits.append("one of " + ", ".join(f"``{choice}``" for choice in item.metadata["choices"]))
    limits += [f"at least {item.metadata['min']}"] if "min" in item.metadata else []
    limits += [f"at most {item.metadata['max']}"] if "max" in item.metadata else []
    return f"{text} ({'; '.join(limits)})" if limits else text or "\\"


def skip_aliases(app, what, name, obj, skip, options):
    """Leave out what Python says of the fields of a named tuple."""
    if str(getattr(obj, "__doc__", "")).startswith("Alias for field number"):
        return True
    return None


def shorten(app, doctree):
    """Leave out values, and defaults of parameters, that are longer than a line."""
    for value in list(doctree.findall(addnodes.desc_annotation)):
        text = value.astext()
        if text.lstrip().startswith("=") and (len(text) > LONGEST_VALUE or " at 0x" in text):
            value.parent.remove(value)
    for parameter in doctree.findall(addnodes.desc_parameter):
        for default in parameter.findall(nodes.inline):
            if "default_value" not in default["classes"]:
                continue
            text = default.astext()
            builtin = re.fullmatch(r"<built-in function (\w+)>", text)
            if builtin or len(text) > LONGEST_DEFAULT:
                default.children = [nodes.Text(builtin[1] if builtin else "…")]


#: Classes of other projects that are types of parameters.
OTHERS = {
    "NDData": "astropy.nddata.NDData",
    "QTable": "astropy.table.QTable",
    "SkyCoord": "astropy.coordinates.SkyCoord",
    "Spectrum": "specutils.Spectrum",
}


def documented_classes(folder):
    """Return the names under which the pages of a folder document classes."""
    found = set()
    for page in sorted(Path(folder).glob("*.rst")):
        home, text = "", page.read_text(encoding="utf-8")
        for kind, name, members in re.findall(
            r"^\.\. (\w+):: ([\w.]+)\n(?:   :members:(.*)\n)?", text, flags=re.MULTILINE
        ):
            if kind == "currentmodule":
                home = f"{name}."
            elif kind == "autoclass":
                found.add(name if name.startswith("photospec") else home + name)
            elif kind == "automodule" and f":: {name}\n   :members:" in text:
                module = importlib.import_module(name)
                wanted = [m.strip() for m in members.split(",") if m.strip()] or module.__all__
                found |= {f"{name}.{n}" for n in wanted if isinstance(getattr(module, n), type)}
    return found


def link_types(app, config):
    """Tell numpydoc which types are documented, by their short names and with their modules."""
    aliases, classes = dict(OTHERS), {}
    for name in sorted(documented_classes(Path(app.srcdir) / "api"), key=len):
        classes.setdefault(name.rpartition(".")[2], {}).setdefault(
            id(pkgutil.resolve_name(name)), name
        )
    for short, names in classes.items():
        for name in names.values():
            # Docstrings have a class from the module that defines it, or a shorter one.
            defined = pkgutil.resolve_name(name)
            for full in {name, f"{defined.__module__}.{defined.__qualname__}"}:
                aliases[full] = f":obj:`~{name}`"
            if len(names) == 1:
                aliases[short] = name
    config.numpydoc_xref_aliases_complete = aliases


def setup(app):
    """Register with Sphinx; settings go in after numpydoc has read the docstring."""
    app.connect("config-inited", link_types, priority=900)
    app.connect("autodoc-process-signature", shorten_signature, priority=900)
    app.connect("autodoc-process-docstring", list_settings, priority=900)
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("doctree-read", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
