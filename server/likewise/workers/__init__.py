"""Worker processes behind one port as one server: tickets find the worker that issued them, counters are of all."""
