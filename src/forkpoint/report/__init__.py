"""Runs -> one self-contained page. One file per section; a section states its finding first and its figure second."""

from forkpoint.report.page import page, page_of, write_page

__all__ = ["page", "page_of", "write_page"]
