"""`likewise estimate`: what a network costs on a machine, told from its description alone."""
