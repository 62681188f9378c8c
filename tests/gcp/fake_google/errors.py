"""Errors as Google's services answer them: a status, a message, and for some a reason."""

# What each HTTP status is called in google.rpc.Code, and the reason BigQuery gives when nothing finer is known.
STATUSES = {
    400: ("INVALID_ARGUMENT", "invalid"),
    401: ("UNAUTHENTICATED", "authError"),
    403: ("PERMISSION_DENIED", "accessDenied"),
    404: ("NOT_FOUND", "notFound"),
    409: ("ALREADY_EXISTS", "duplicate"),
    412: ("FAILED_PRECONDITION", "conditionNotMet"),
    429: ("RESOURCE_EXHAUSTED", "rateLimitExceeded"),
    500: ("INTERNAL", "backendError"),
    501: ("UNIMPLEMENTED", "notImplemented"),
    503: ("UNAVAILABLE", "backendError"),
}

# google.rpc.Code by name, as operations carry it.
CODES = {
    "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9,
    "ABORTED": 10, "UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14, "UNAUTHENTICATED": 16,
}


class ApiError(Exception):
    """What a handler raises to refuse a request."""

    def __init__(self, http, message, reason=None, status=None):
        super().__init__(message)
        name, default = STATUSES[http]
        self.http = http
        self.message = message
        self.reason = reason or default
        self.status = status or name

    def body(self):
        """The error in Google's JSON format."""
        item = {"message": self.message, "domain": "global", "reason": self.reason}
        return {"error": {"code": self.http, "message": self.message, "errors": [item], "status": self.status}}

    def rpc_status(self):
        """The error as an operation carries it."""
        return {"code": CODES.get(self.status, 2), "message": self.message}


def not_found(what):
    """404 for something named."""
    return ApiError(404, f"Not found: {what}")


def invalid(message, reason="invalid"):
    """400 with a message."""
    return ApiError(400, message, reason)
