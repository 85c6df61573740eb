"""What every room of the core stands on: errors, addresses, tables, the diary, the queue."""
