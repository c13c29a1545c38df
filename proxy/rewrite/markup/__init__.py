"""HTML, XML and style sheets: where addresses stand in them."""
