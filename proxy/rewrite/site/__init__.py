"""The other text of a site: data files, feeds, style sheets, components."""
