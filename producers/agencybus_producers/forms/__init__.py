"""Forms that people fill in, as JSON: a sighting of a wanted person, a hold on cargo."""
