"""Record ⇄ parts: layout, headers, identifiers, limits. Pure: no I/O, no clock, no keys."""
