"""Names of clips and classes come from strangers: in a page they are text."""

import re
from pathlib import Path

import pytest
from stgcma.pages import rendering

TEMPLATES = Path(rendering.__file__).parent / "templates"


def test_what_a_template_is_given_is_text(tmp_path, monkeypatch):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.html.j2").write_text('<p title="{{ name }}">{{ name }}</p>')
    monkeypatch.setattr(rendering, "__file__", str(tmp_path / "rendering.py"))
    page = rendering.render("a.html.j2", name='"><script>alert(1)</script>')
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 2


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.j2")), ids=lambda path: path.name)
def test_only_pictures_and_styles_of_our_own_are_not_escaped(template):
    trusted = {match[1].strip() for match in re.finditer(r"\{\{([^}]*?)\|\s*safe", template.read_text())}
    assert all(re.search(r"svg|style|script", name) for name in trusted), trusted
