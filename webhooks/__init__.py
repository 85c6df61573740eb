"""The HTTP border: what comes in is checked, kept word for word and acknowledged."""
