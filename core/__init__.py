"""The CRM: what things are and what may become of them. No I/O of its own, never commits."""
