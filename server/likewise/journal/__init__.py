"""The journal: the truth from which indexes are derived. Three kinds, one contract (`likewise.ports.Journal`)."""
