"""Values that a notebook displays. How they look is a matter of pictures and reports, which the values do not know."""

import hades


class Displayed:
    """A value that `hades.as_html` knows."""

    def _repr_html_(self) -> str:
        return hades.as_html(self)
