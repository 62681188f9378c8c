"""A fake of the Google services that have no emulator, checked against Google's own description of them."""
