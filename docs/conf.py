"""Sphinx configuration."""

import os
import re
import warnings
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert as to_mathml
from sphinx_gallery.sorting import ExplicitOrder

# Before the import of matplotlib: pictures are drawn without a display.
os.environ.setdefault("MPLBACKEND", "Agg")

project = "sklearn_similar"
author = "the sklearn_similar developers"
copyright = "the sklearn_similar developers, BSD 3-Clause"
version = release = installed_version("sklearn-similar")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# tutorials.rst takes the place of the index of the gallery.
exclude_patterns = [
    "_build",
    "_templates",
    "examples",
    "**/README.rst",
    "auto_examples/index.rst",
]
templates_path = ["_templates"]
default_role = "py:obj"
toc_object_entries_show_parents = "hide"

# Unresolved references are errors. Names in single backticks with a lower-case initial
# are parameters and methods, in numpydoc's notation.
nitpicky = True
nitpick_ignore_regex = [("py:obj", r"[a-z]\w*")]
# Inventories of the referenced objects, so that the build works offline.
intersphinx_mapping = {
    "sklearn": ("https://scikit-learn.org/stable/", "inventories/scikit-learn.txt"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/pytorch.txt"),
    "skorch": ("https://skorch.readthedocs.io/en/stable/", "inventories/skorch.txt"),
}

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# In reading order.
_TUTORIALS = [
    "plot_quickstart.py",
    "plot_filter_importance.py",
    "plot_coins.py",
    "plot_boxes.py",
    "plot_correct_boxes.py",
    "plot_cells.py",
    "plot_cards.py",
    "plot_localize.py",
    "plot_icons.py",
    "plot_clothes.py",
    "plot_text.py",
    "plot_faces.py",
    "plot_own_network.py",
    "plot_class_maps.py",
    "plot_own_class_map.py",
    "plot_tune_localization.py",
    "plot_grid_search.py",
    "plot_deploy.py",
    "*",
]

# Pages about photographs that the package does not include are built without running
# them unless SKLEARN_SIMILAR_DATA has the photographs.
_PHOTOGRAPHS = Path(os.environ.get("SKLEARN_SIMILAR_DATA", "")) / "photographs"
_SKIPPED = "" if _PHOTOGRAPHS.is_dir() else "(?!cells|cards)"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": f"plot_{_SKIPPED}",
    "within_subsection_order": ExplicitOrder(_TUTORIALS),
    # The repr of a display object below its picture is redundant.
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "doc_module": ("sklearn_similar",),
    "backreferences_dir": "generated/backreferences",
    "remove_config_comments": True,
    "show_memory": False,
    # Two pages at a time, each with one thread (tox.ini).
    "parallel": 2,
    "write_computation_times": False,
}

# Defined in setup: browsers render formulas without a script and offline.
html_math_renderer = "mathml"

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_similar {release}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
_REPOSITORY = "https://github.com/sklearn-similar/sklearn-similar"
html_theme_options = {
    "logo": {"image_light": "_static/favicon.svg", "text": "sklearn_similar"},
    "icon_links": [
        {"name": "Repository", "url": _REPOSITORY, "icon": "fa-brands fa-github"},
        {"name": "Issues", "url": f"{_REPOSITORY}/issues", "icon": "fa-solid fa-bug"},
    ],
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher", "navbar-icon-links"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
}
# These pages do not have siblings for a sidebar.
html_sidebars = {page: [] for page in ("index", "install", "comparison", "changes")}


def _link_notebook(app, docname, source):
    """Put the links to notebook and script below the title of a tutorial."""
    name = docname.removeprefix("auto_examples/")
    if name != docname and name.startswith("plot_"):
        links = f":download:`Notebook <{name}.ipynb>` · :download:`script <{name}.py>`"
        source[0] = re.sub(
            r"^(=+\n)(?=\n)", rf"\1\n{links}\n", source[0], count=1, flags=re.MULTILINE
        )


# matplotlib warns for each picture that Agg does not have a window.
warnings.filterwarnings("ignore", message=".*non-interactive.*", category=UserWarning)


def _skip_member(app, what, name, obj, skip, options):
    """Skip members that scikit-learn and named tuples add automatically."""
    if name.startswith("set_") and name.endswith("_request"):
        return True
    if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number"):
        return True
    return None


def _write_math(writer, node):
    """Write an inline formula as MathML, which browsers render."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math"))
    writer.body.append(to_mathml(node.astext()) + "</span>")
    raise SkipNode


def _write_math_block(writer, node):
    """Write a displayed formula as MathML."""
    writer.body.append(writer.starttag(node, "div", "", CLASS="math"))
    writer.body.append(to_mathml(node.astext(), display="block") + "</div>\n")
    raise SkipNode


def setup(app):
    """Register the hooks and the formula renderer."""
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("source-read", _link_notebook)
    app.add_html_math_renderer("mathml", (_write_math, None), (_write_math_block, None))
