"""What pixels tell about a picture: a drawing or a photo, how alike two are, which quality is enough. Pure."""
