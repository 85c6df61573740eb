"""Insight: what the records say when they are counted."""
