"""Files as bytes: their structure, metadata and damage, never their pixels. Pure; runs anywhere."""
