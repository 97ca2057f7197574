"""Phones that share recognition results through a likewise server: the demonstration."""
