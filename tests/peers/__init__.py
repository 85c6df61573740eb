"""Servers that nobody of us wrote, started for the tests."""
