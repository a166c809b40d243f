"""From what agencies already have to events: one package per agency or kind of input, and the way to the bus.

Conversion is pure: bytes in, events and refusals out. What was published already is kept in a cursor (`cursor.py`),
what differs is planned (`changes.py`), and only that is published (`delivery.py`).
"""
