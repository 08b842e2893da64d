"""How datasets lie on disk: one module per family of layouts, each of which turns the files found into stems."""
