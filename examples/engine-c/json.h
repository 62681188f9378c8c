/*
 * json.h: as much of JSON as the engine beside it has to read. The host hands over valid JSON, so nothing is checked here
 * but that texts end. An engine with more to read takes a library for it.
 */
#ifndef SUM_JSON_H
#define SUM_JSON_H

#include <stddef.h>

#include "oxidag_engine.h"

/* The value of an object's member as it stands; data is NULL where there is no such member, or no object. */
oxidag_text json_member(oxidag_text object, const char *name);

/* A whole number, or `otherwise` where the value is none. */
long long json_number(oxidag_text value, long long otherwise);

/* The text of a string, its escapes resolved, with a zero byte at its end; for free(). NULL where there is no memory. What
 * is no string has an empty text. */
char *json_string(oxidag_text value);

#endif
