"""What an index says of its files is read, and whatever it says besides does no harm."""

from __future__ import annotations

import pytest

from thv_core.errors import Unavailable
from thv_packages.pypi.sources import file_hosts, newest_source
from thv_packages.web import Answer, Web

INDEX = "https://index.example/simple"


class Page(Web):
    """A web that is one page."""

    def __init__(self, body: str) -> None:
        super().__init__({})
        object.__setattr__(self, "body", body.encode())

    def get(self, url: str, accept: str, authorization: str = "") -> Answer:
        del url, accept, authorization
        return Answer("text/html", self.body)


def test_files_lie_where_their_links_lead():
    page = Page('<a href="../x-1.0.tar.gz">x</a><a href="https://files.example/y-1.0.tar.gz#sha256=0">y</a>')

    assert file_hosts(page, [INDEX]) == {"index.example:443", "files.example:443"}


@pytest.mark.parametrize("noise", ["http://[bad/x.tar.gz", "file:///etc/passwd", "http://host:99999/x"])
def test_a_link_that_leads_nowhere_is_left_out(noise):
    assert file_hosts(Page(f'<a href="{noise}">x</a>'), [INDEX]) == frozenset()


def test_a_page_that_is_no_html_ends_where_it_cannot_be_read():
    assert newest_source(Page("<![what[is this]]>"), [INDEX], "x", "3.11.0") == ""


def test_an_index_that_names_hosts_without_end_is_refused():
    links = "".join(f'<a href="https://h{number}.example/x.tar.gz">x</a>' for number in range(17))

    with pytest.raises(Unavailable, match="17 hosts"):
        file_hosts(Page(links), [INDEX])
