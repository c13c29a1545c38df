"""The parts that commands share: the parser, signals, access to the store."""
