"""E-mail: `channel` talks IMAP and SMTP; the modules beside it read letters and know nothing of the network."""
