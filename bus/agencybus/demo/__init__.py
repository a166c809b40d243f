"""The demo: one story from real processes on a real Kafka, in 90 seconds."""
