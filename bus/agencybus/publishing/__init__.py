"""The inside of a publisher: events gather, one frame of a lineage is in flight, keys are granted to the audience."""
