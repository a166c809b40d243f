"""Looking back: topics read again, records looked at without being able to read them. Live state is never touched."""
