"""Names to which other packages add theirs."""

import sys
from importlib.metadata import EntryPoint

import pytest

from photospec.errors import InputError
from photospec.utils import registry
from photospec.utils.registry import GROUP, Registry, load_plugins

SHAPES = Registry("shape")


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.setattr(SHAPES, "_objects", {"square": 4})
    load_plugins.cache_clear()
    yield SHAPES
    load_plugins.cache_clear()


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """``plugin(name, code)``: a distribution with one module that an entry point names."""

    def make(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        point = EntryPoint("theirs", name, GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [point])
        monkeypatch.syspath_prepend(tmp_path)
        # The module finds the registry of this test, which is no importable package.
        monkeypatch.setitem(sys.modules, "shapes_of_the_test", sys.modules[__name__])
        monkeypatch.delitem(sys.modules, name, raising=False)

    return make


def test_names_in_order_and_lazy_objects(shapes):
    shapes.register("root", "math:sqrt")
    shapes.register("square", 4)  # the same again
    assert shapes.names == ("square", "root")
    assert list(shapes) == ["square", "root"]
    assert len(shapes) == 2
    assert shapes.get("root")(9.0) == 3
    assert "root" in shapes
    with pytest.raises(InputError, match="shape: expected a new name, got 'square'"):
        shapes.register("square", 5)


@pytest.mark.parametrize("name", ["circle", None, 3, ["square"]])
def test_unknown_names(shapes, name):
    assert name not in shapes
    with pytest.raises(InputError, match=r"shape: expected one of square, got ") as error:
        shapes.get(name)
    assert "\n" not in str(error.value)


def test_a_plugin_is_imported_when_a_name_is_unknown(shapes, plugin):
    plugin("their_shapes", "from shapes_of_the_test import SHAPES\nSHAPES.register('circle', 1)\n")
    assert shapes.get("square") == 4
    assert "their_shapes" not in sys.modules
    assert shapes.get("circle") == 1
    assert shapes.names == ("square", "circle")


def test_a_plugin_that_cannot_be_imported_is_named(shapes, plugin):
    plugin("broken_shapes", "import a_module_that_nobody_has\n")
    with pytest.raises(InputError, match="plugin theirs: No module named 'a_module_that"):
        shapes.get("circle")


def test_plugins_of_a_checkout_need_no_installation(shapes, monkeypatch, tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(f'[project.entry-points."{GROUP}"]\nlater = "json"\n')
    monkeypatch.setattr(registry, "_PYPROJECT", path)
    monkeypatch.setattr(registry, "entry_points", lambda group: [])
    assert [(point.name, point.value) for point in registry._plugins()] == [("later", "json")]
    path.unlink()
    assert registry._plugins() == []
