"""Reading again, for operators and auditors: the same verification, and findings instead of deliveries."""
