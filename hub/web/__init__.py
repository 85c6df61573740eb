"""The workspace people look at: pages, templates, static files."""
