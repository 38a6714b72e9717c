"""What of an exchange may be stored, in which form."""

from core.privacy.privacy import HASHED, Privacy, Stored, StoredRequest, needs_key

__all__ = ["HASHED", "Privacy", "Stored", "StoredRequest", "needs_key"]
