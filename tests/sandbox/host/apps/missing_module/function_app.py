"""An app that imports what is not installed."""

import a_module_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401 - the point of the sample
