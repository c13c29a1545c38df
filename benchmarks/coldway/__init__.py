"""The parts of `cold.py`: what runs beside the service (floors, bare codecs), and what reads its cost."""
