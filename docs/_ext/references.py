"""Resolve what stands in single backquotes, or say that nothing has this name.

Docstrings follow numpydoc: a name in single backquotes is a parameter or an attribute of what is
described, or an object. Sphinx knows objects by the module that defines them only, so this finds

- objects of photospec by a shorter or a public name (``Cascade``, ``photospec.PhotoSpectrograph``),
- parameters and attributes, which are set as code,
- objects of other projects: imported, to see that they exist, and set as code; with
  ``PHOTOSPEC_DOCS_ONLINE`` Sphinx links them before this is asked.

What is none of these is a warning, and with ``-W`` an error.
"""

import importlib
import inspect
import pkgutil
import re

_ROLES = {"obj", "class", "func", "meth", "attr", "mod", "data", "exc"}


def resolve(app, env, node, contnode):
    """Answer Sphinx's question for a reference that it cannot resolve."""
    if node.get("refdomain") != "py" or node.get("reftype") not in _ROLES:
        return None
    target = node["reftarget"].removeprefix("~").removesuffix("()")
    domain = env.get_domain("py")
    name = _documented(domain.objects, target)
    if name is not None:
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, node["reftype"], name, node, contnode
        )
    described = _described(node)
    if _belongs_to(described, target) or _exists_elsewhere(target):
        return contnode
    return None


def _documented(objects, target):
    """Full name of the documented object that is meant, or None."""
    if target in objects:
        return target
    last = target.rpartition(".")[2]
    named = {name for name in objects if name == last or name.endswith(f".{last}")}
    if target.startswith("photospec."):
        # The same object under the name by which it is documented.
        found = _import(target)
        named = {name for name in named if found is not None and _import(name) is found}
    else:
        named = {name for name in named if name == target or name.endswith(f".{target}")}
        if "." not in target:
            named = {n for n in named if objects[n].objtype in ("class", "function", "data")}
        things = {id(_import(name)) for name in named}
        if len(things) > 1:
            return None
    if named:
        return min(named, key=len)
    # A field of a documented class is described in the docstring of the class.
    owner = _documented(objects, target.rpartition(".")[0]) if "." in target else None
    if owner and objects[owner].objtype == "class" and _belongs_to([_import(owner)], last):
        return owner
    return None


def _described(node):
    """Objects in whose docstring a reference stands, the innermost first."""
    place = next((n.source for n in _upwards(node) if n.source), "") or ""
    match = re.search(r"docstring of ([\w.]+)", place)
    name, found = match.group(1) if match else "", []
    while "." in name:
        thing = _import(name)
        if thing is not None:
            found.append(thing)
        name = name.rpartition(".")[0]
    return found


def _upwards(node):
    while node is not None:
        yield node
        node = node.parent


def _belongs_to(described, target):
    """Whether a name is a parameter, an attribute or a table entry of what is described."""
    first = target.partition(".")[0]
    for thing in described:
        if hasattr(thing, first):
            return True
        try:
            if first in inspect.signature(thing).parameters:
                return True
        except (TypeError, ValueError):
            pass
        # "name, other : type" of the sections of numpydoc.
        entries = re.findall(r"^ *([\w*, ]+?) ?(?::|$)", inspect.getdoc(thing) or "", re.MULTILINE)
        if first in {part.strip(" *") for entry in entries for part in entry.split(",")}:
            return True
    return False


def _exists_elsewhere(target):
    """Whether a name is an object of another project that is installed here."""
    return not target.startswith("photospec") and "." in target and _import(target) is not None


def _import(name):
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def setup(app):
    """Register the resolver."""
    app.connect("missing-reference", resolve, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
