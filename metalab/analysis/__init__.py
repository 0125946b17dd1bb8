"""A run and tasks -> small frozen results, as arrays."""
