"""Extensions of site generators to Markdown: template tags and shortcodes."""
