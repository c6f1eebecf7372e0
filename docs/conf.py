"""Sphinx configuration.

Builds offline: set ``PHOTOSPEC_DOCS_ONLINE=1`` to link to other projects' pages
(intersphinx), for which their inventories are fetched.
"""

import os
import sys
import warnings
from importlib.metadata import version as _version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

# One numerical thread: examples run beside each other and beside the build.
os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "photospec"
author = "photospec developers"
copyright = "2026, photospec developers"
release = version = _version("photospec")

extensions = [
    "numpydoc",
    "api_pages",
    "gallery_figures",
    "plus_minus",
    "references",
    "tables_of_files",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",  # testsetup; tests/test_docs.py runs the code
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
if os.environ.get("PHOTOSPEC_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "astropy": ("https://docs.astropy.org/en/stable/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "python": ("https://docs.python.org/3/", None),
        "specutils": ("https://specutils.readthedocs.io/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

root_doc = "index"
exclude_patterns = ["_build", "changes", "**/README.rst", "auto_examples/**/*.ipynb"]
default_role = "py:obj"
# Whatever stands in single backquotes is something; _ext/references.py knows what.
nitpicky = True

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
# Types that are documented classes are links (_ext/api_pages.py); other words stay words.
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": [
        f"../examples/{name}" for name in ("predict", "redshift", "measure", "train", "programs")
    ],
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"__init__\.py",
    "download_all_examples": False,
    "plot_gallery": True,
    "abort_on_example_error": True,
    "min_reported_time": 5,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_context = {"default_mode": "auto"}
html_title = f"photospec {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["phone.css"]
# The front page has nothing beside it.
html_sidebars = {"index": []}
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}

# arXiv and journals refuse link checkers now and then; a moved page still shows.
linkcheck_retries = 3
linkcheck_timeout = 30

# A figure made without a display is what the gallery wants.
warnings.filterwarnings("ignore", message=".*non-interactive.*", category=UserWarning)
