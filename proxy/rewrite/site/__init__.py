"""The texts of a site that are not articles: data files, feeds, style sheets, components."""
