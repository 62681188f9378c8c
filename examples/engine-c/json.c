/* json.c: see json.h. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

/* The text from its byte `at` on. */
static oxidag_text from(oxidag_text text, size_t at) {
    oxidag_text rest = {text.data + at, text.length - at};
    return rest;
}

static oxidag_text skip_space(oxidag_text text) {
    size_t i = 0;
    while (i < text.length && strchr(" \t\r\n", text.data[i]) != NULL) {
        i++;
    }
    return from(text, i);
}

/* How long the value is that the text begins with. */
static size_t value_length(oxidag_text text) {
    size_t depth = 0;
    int quoted = 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (quoted) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                quoted = 0;
            }
        } else if (c == '"') {
            quoted = 1;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth == 0 && strchr(",:}] \t\r\n", c) != NULL) {
            return i;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return text.length;
}

/* Takes a value, and the mark behind it, off the text. */
static oxidag_text take_value(oxidag_text *text) {
    *text = skip_space(*text);
    oxidag_text value = {text->data, value_length(*text)};
    *text = skip_space(from(*text, value.length));
    if (text->length > 0) {
        *text = from(*text, 1);
    }
    return value;
}

int json_next(oxidag_text *object, oxidag_text *name, oxidag_text *value) {
    if (object->length > 0 && object->data[0] == '{') {
        *object = from(*object, 1);
    }
    *name = take_value(object);
    if (name->length < 2 || name->data[0] != '"') {
        return 0;
    }
    name->data++;
    name->length -= 2;
    *value = take_value(object);
    return 1;
}

oxidag_text json_member(oxidag_text object, const char *name) {
    oxidag_text none = {NULL, 0};
    if (object.length == 0 || object.data[0] != '{') {
        return none;
    }
    oxidag_text key, value;
    while (json_next(&object, &key, &value)) {
        if (key.length == strlen(name) && memcmp(key.data, name, key.length) == 0) {
            return value;
        }
    }
    return none;
}

long long json_number(oxidag_text value, long long otherwise) {
    char digits[24] = {0};
    if (value.length == 0 || value.length >= sizeof digits) {
        return otherwise;
    }
    memcpy(digits, value.data, value.length);
    char *end = NULL;
    long long number = strtoll(digits, &end, 10);
    return *end == '\0' ? number : otherwise;
}

/* The letter that stands behind a backslash; `?` for one by its number, which no number has in it. */
static char unescaped(char c) {
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'u': return '?';
    default: return c;
    }
}

char *json_string(oxidag_text value) {
    if (value.length < 2 || value.data[0] != '"') {
        return NULL;
    }
    char *text = malloc(value.length);
    size_t length = 0;
    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 1; i + 1 < value.length; i++) {
        char c = value.data[i];
        text[length++] = c == '\\' ? unescaped(value.data[++i]) : c;
    }
    text[length] = '\0';
    return text;
}
