"""The answers of origins: heads and chunks tidied for a strict parser, codings taken off."""
