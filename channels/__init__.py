"""The languages: one module per provider or protocol; translates, never touches the database."""
