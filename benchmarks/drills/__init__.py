"""Drills: real processes that are killed, cut off and overrun on purpose, each with its figure and its bar."""
