"""Small C sources that make a slow place fast where a C compiler is, each with a Python twin that gives the same."""
