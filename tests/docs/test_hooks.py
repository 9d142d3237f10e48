"""What the build of the site adds to the pages."""

import sys

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import hooks


def test_a_command_in_a_table_breaks_between_its_words_only() -> None:
    html = (
        "<td><code>hades-train --dry_run</code></td><p><code>hades-train --dry_run</code></p><td><code>MLP</code></td>"
    )
    words = '<span class="word">hades-train</span> <span class="word">--dry_run</span>'
    assert hooks.on_page_content(html) == html.replace("hades-train --dry_run", words, 1)
