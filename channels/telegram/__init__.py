"""Telegram bots: reading updates, sending through aiogram, listening where no hook can reach us."""
