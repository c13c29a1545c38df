"""The parts of `cold.py`: the floors that run beside the service, and the readers of its cost."""
