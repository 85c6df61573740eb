"""Everything that proves the hub does what it says."""
