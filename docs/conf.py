"""How the guide is built: Sphinx reads Markdown by MyST, and a warning is an error (``make docs``)."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from from_code import MARK, fill  # noqa: E402  it lies beside this file

import modeltune  # noqa: E402

project = "modeltune"
author = "modeltune contributors"
version = release = modeltune.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "modeltune"
html_copy_source = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Outputs of pytest are no language.
highlight_language = "text"

default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
python_use_unqualified_type_names = True


def setup(app):
    """Put what the code knows best into the pages: options, commands, settings, packages."""

    def fill_page(app, page, source):
        source[0] = fill(source[0])

    def filled_pages(app, env, added, changed, removed):
        # Their sources stay the same when the code changes.
        return [
            page
            for page in env.found_docs
            if MARK.search(Path(env.doc2path(page)).read_text("utf-8"))
        ]

    app.connect("source-read", fill_page)
    app.connect("env-get-outdated", filled_pages)
