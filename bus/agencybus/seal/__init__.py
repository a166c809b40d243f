"""Seal and open records. Pure: bytes, keys, directory and time come in as arguments."""
