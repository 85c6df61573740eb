"""The framework of the REST API, tried on a toy of its own, and then the real resources."""
