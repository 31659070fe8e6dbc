"""What a decomposition or an evaluation looks like: numbers, figures, pages.

Values first: `subject` reads a target, `kept`, `overlap`, `curve`, `confusion` and `reliability` compute plain values
from it. `figures` draws those values with matplotlib, `pages` sets them in one self-contained HTML file. Whatever is
drawn or written can be had as numbers.
"""
