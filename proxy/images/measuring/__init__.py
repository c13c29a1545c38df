"""Measures pictures: whether one is a drawing or a photo, how similar two are, which quality suffices. Pure."""
