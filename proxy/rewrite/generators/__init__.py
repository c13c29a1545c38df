"""What site generators add to Markdown: template tags, shortcodes, expressions."""
