"""Requirements to exact releases, or to a conflict told in sentences. Pure: nothing here reads a registry."""
