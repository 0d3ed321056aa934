"""Configuration of Sphinx."""

import os
import warnings
from importlib.metadata import version as installed_version

from docutils.nodes import SkipNode
from latex2mathml.converter import convert as to_mathml
from sphinx_gallery.sorting import ExplicitOrder

# Before matplotlib is imported: pictures are drawn without a screen.
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
exclude_patterns = ["_build", "_templates", "examples", "**/README.rst"]
templates_path = ["_templates"]
default_role = "py:obj"
toc_object_entries_show_parents = "hide"

# References must lead somewhere. Names in single backticks that begin with a small
# letter are parameters and methods, as numpydoc marks them.
nitpicky = True
nitpick_ignore_regex = [("py:obj", r"[a-z]\w*")]
# The objects that are referred to; the build needs no network.
intersphinx_mapping = {
    "sklearn": ("https://scikit-learn.org/stable/", "inventories/scikit-learn.txt"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/pytorch.txt"),
    "skorch": ("https://skorch.readthedocs.io/en/stable/", "inventories/skorch.txt"),
}

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# In the order in which they are best read.
_TUTORIALS = [
    "plot_quickstart.py",
    "plot_filter_importance.py",
    "plot_coins.py",
    "plot_localize.py",
    "plot_icons.py",
    "plot_clothes.py",
    "plot_text.py",
    "plot_faces.py",
    "plot_own_network.py",
    "plot_tune_localization.py",
    "plot_grid_search.py",
    "plot_deploy.py",
    "*",
]

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": ExplicitOrder(_TUTORIALS),
    # A display is a picture already; its repr under it says nothing.
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "doc_module": ("sklearn_similar",),
    "backreferences_dir": "generated/backreferences",
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
}

# Defined in setup: formulas are shown without a script and without a network.
html_math_renderer = "mathml"

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_similar {release}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
}
# These pages have no neighbours that a sidebar could list.
html_sidebars = {page: [] for page in ("index", "install", "comparison", "changes")}

# matplotlib warns that Agg has no window, once for each picture.
warnings.filterwarnings("ignore", message=".*non-interactive.*", category=UserWarning)


def _skip_member(app, what, name, obj, skip, options):
    """Leave out what scikit-learn and named tuples add by themselves."""
    if name.startswith("set_") and name.endswith("_request"):
        return True
    if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number"):
        return True
    return None


def _write_math(writer, node):
    """Write a formula within a line as MathML, which browsers set by themselves."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math"))
    writer.body.append(to_mathml(node.astext()) + "</span>")
    raise SkipNode


def _write_math_block(writer, node):
    """Write a formula on a line of its own as MathML."""
    writer.body.append(writer.starttag(node, "div", "", CLASS="math"))
    writer.body.append(to_mathml(node.astext(), display="block") + "</div>\n")
    raise SkipNode


def setup(app):
    """Connect what Sphinx calls back."""
    app.connect("autodoc-skip-member", _skip_member)
    app.add_html_math_renderer("mathml", (_write_math, None), (_write_math_block, None))
