"""The HTTP edge: routes, wire formats, access, problems. The only FastAPI imports, with app.py."""
