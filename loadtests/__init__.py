"""Load tests: users of locust play workloads against a server."""
