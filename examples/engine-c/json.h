/*
 * json.h: as much of JSON as the engine beside it has to read. The host hands over valid JSON, so little is checked here. An engine with more to read takes a library for it.
 */
#ifndef SUM_JSON_H
#define SUM_JSON_H

#include <stddef.h>

#include "oxidag_engine.h"

/* The value of an object's member as it stands; data is NULL where there is no such member, or no object. */
oxidag_text json_member(oxidag_text object, const char *name);

/* Takes the first member off an object, or off what is left of it; 0 where there is none. The name comes without its quotes. */
int json_next(oxidag_text *object, oxidag_text *name, oxidag_text *value);

/* A whole number, or `otherwise` where the value is none. */
long long json_number(oxidag_text value, long long otherwise);

/* The text of a string, its escapes resolved, with a zero byte at its end; for free(). NULL where it is no string, or there
 * is no memory. */
char *json_string(oxidag_text value);

#endif
