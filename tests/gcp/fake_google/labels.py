"""Google's rules for labels, which all services share."""

import re

from .errors import invalid

KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def check_labels(labels):
    """Google's rules for labels; raises `ApiError`."""
    if len(labels) > 64:
        raise invalid(f"{len(labels)} labels, at most 64 are allowed")
    for key, value in labels.items():
        # Letters of other scripts are allowed too, as long as they have no upper case.
        if not KEY.fullmatch(key) and not (key[:1].isalpha() and foreign(key)):
            raise invalid(f'Invalid label key "{key}"')
        if not VALUE.fullmatch(value) and not foreign(value):
            raise invalid(f'Invalid value "{value}" of label "{key}"')


def foreign(text):
    """Whether text may stand in a label by its letters of other scripts."""
    return len(text) <= 63 and all(char in "_-" or char.isnumeric() or (char.isalpha() and char == char.lower())
                                   for char in text)
