"""The application: everything is made, connected and run here."""
