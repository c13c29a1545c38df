"""The checks of `doctor`. Each file checks one part of the installation and returns findings with advice."""
