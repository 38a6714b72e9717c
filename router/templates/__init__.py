"""Templates in the gateway: those that are known, and what is learnt of those that are not."""

from router.templates.keeper import TemplateKeeper
from router.templates.unmatched import Unmatched

__all__ = ["TemplateKeeper", "Unmatched"]
