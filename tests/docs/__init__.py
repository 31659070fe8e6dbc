"""The pages of the site: every command and every piece of code on them is run."""
