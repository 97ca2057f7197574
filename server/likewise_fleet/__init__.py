"""A fleet of emulated phones, five ways to answer them side by side, and a simulator for larger fleets."""
