"""The Telegram Bot API played on this machine: strict, with a memory, for whoever writes a bot, a channel or a desk."""
