"""The inside of a subscriber: records are verified ahead, delivered in order, and committed when the tool is done."""
