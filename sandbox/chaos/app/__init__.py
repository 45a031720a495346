"""The app directory of the campaign's hosts."""
