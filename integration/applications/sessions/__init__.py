"""The applications' own code. Each is a program that prints what it sees; any deviation is a bug."""
