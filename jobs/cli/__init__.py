"""The command `imagefeed`: it parses, calls one function and prints."""
