"""Events and their bytes."""
