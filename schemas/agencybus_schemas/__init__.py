"""The contract of the events: Avro schemas (`*.avsc`), typed classes made from them, released versions."""
