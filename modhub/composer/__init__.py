"""Several modules as one model. Pure: packages in, a package out."""
