"""What was said: conversations, episodes, messages."""
