"""Consumers: the daemon that feeds local tools with verified events, its routes and sinks.

One route is one tool: which event types it takes, the highest label it may hold (its ceiling), and the sink that it
reads from. Each route has a reader and a state of its own, so a slow or dead tool holds nothing else up.
"""
