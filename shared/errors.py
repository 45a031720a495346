"""Every way in which provisioning can fail, as one tree.

    ProvisioningError
    ├── RetryableError                 the same event may succeed later; it goes back to its queue or into escrow
    │   ├── ThrottledError             a service asked us to slow down (429, exhausted slots)
    │   ├── UnavailableError           a service cannot answer now (5xx, 202, hibernation, broken JSON, network)
    │   ├── FateUnknownError           a write was sent and no answer proves what became of it: read before writing again
    │   └── BusyError                  another worker holds the lease
    ├── CredentialsError               a service refused who we are: stop at once, do not hammer (quarantine)
    └── TerminalError                  repeating it unchanged cannot succeed; it is escrowed at once
        ├── NotFoundError              the record or object is not there, or is hidden from us
        ├── ConflictError              a unique value or a record is taken by somebody else
        ├── AmbiguousMatchError        more than one record or object matches
        ├── MissingMatchValueError     no matching attribute has a value
        ├── UnresolvedReferenceError   a referenced record does not exist (policy ``fail``)
        ├── RefusedError               an access rule, business rule or data policy refused the write
        ├── SchemaMismatchError        a column does not exist, cannot be written, or a value does not fit it
        ├── ResyncRequiredError        a delta token is no longer valid: a full cycle must follow
        └── ProtocolError              an answer that the service's documentation does not allow

``code`` is the error code of the Entra provisioning log (source: "Analyze the provisioning logs", Microsoft Entra docs), so
that an operator finds the same words in both products.
"""

from __future__ import annotations


class ProvisioningError(Exception):
    """A failure with the provisioning log's error code, a reason, and what the operator can do about it.

    ``recommended_action`` names the setting, record or rule to look at. No message may carry a credential.
    """

    code = "InternalError"
    retryable = False

    def __init__(self, reason: str, *, code: str | None = None, recommended_action: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code
        self.recommended_action = recommended_action


class RetryableError(ProvisioningError):
    """The same event may succeed later. ``retry_after`` is the service's own wish in seconds, if it stated one."""

    retryable = True

    def __init__(
        self,
        reason: str,
        *,
        retry_after: float | None = None,
        code: str | None = None,
        recommended_action: str | None = None,
    ) -> None:
        super().__init__(reason, code=code, recommended_action=recommended_action)
        self.retry_after = retry_after


class ThrottledError(RetryableError):
    """A service asked us to slow down: nothing was processed."""

    code = "TooManyRequests"


class UnavailableError(RetryableError):
    """A service cannot answer now, and the request is known not to have changed anything, or only read."""

    code = "InternalServerError"


class FateUnknownError(RetryableError):
    """A write was sent and no answer proves what became of it. Read the record before writing again.

    The server may go on working on it until its own limit (60 s for the Table API, 30 s for a batch) has passed.
    """

    code = "Timeout"


class BusyError(RetryableError):
    """Another worker holds the lease on the object; ``retry_after`` says when it can end at the latest."""

    code = "InternalError"


class CredentialsError(ProvisioningError):
    """A service refused who we are. Repeating it may lock the account: the job goes into quarantine."""

    code = "Unauthorized"


class TerminalError(ProvisioningError):
    """Repeating the same thing unchanged cannot succeed."""


class NotFoundError(TerminalError):
    """The record or object is not there, or is hidden from us: a 404 cannot tell which."""

    code = "InvalidAnchor"


class ConflictError(TerminalError):
    """A unique value or a record is taken by somebody else."""

    code = "EntryConflict"


class AmbiguousMatchError(TerminalError):
    """More than one record in the target, or object in the source, matches: none is taken."""

    code = "DuplicateTargetEntries"


class MissingMatchValueError(TerminalError):
    """No matching attribute has a value."""

    code = "EntryJoiningPropertyValueIsMissing"


class UnresolvedReferenceError(TerminalError):
    """A reference attribute names a record that does not exist, and its policy is ``fail``."""

    code = "InvalidLookupReference"


class RefusedError(TerminalError):
    """An access rule, business rule or data policy of ServiceNow, or a permission in Graph, refused the request."""

    code = "InsufficientRights"


class SchemaMismatchError(TerminalError):
    """A column does not exist, cannot be written, or a value does not fit it."""

    code = "SchemaAttributeNotFound"


class ResyncRequiredError(TerminalError):
    """Graph no longer knows the delta token: only a full cycle gives a complete state again."""

    code = "InternalError"


class ProtocolError(TerminalError):
    """An answer that the service's documentation does not allow; its shape is in the reason, its content is not."""

    code = "WebExceptionProtocolError"
