/* An engine whose tasks do nothing: what is left is the call. */
#include "oxidag_engine.h"

static oxidag_text text_of(const char *text, size_t length) {
    oxidag_text borrowed = {text, length};
    return borrowed;
}

#define TEXT(literal) text_of(literal, sizeof literal - 1)

static void describe(oxidag_answer answer) {
    answer.say(answer.to, TEXT("{\"mode\": \"blocking\", \"script_suffix\": \"\", \"config_schema\": true}"));
}

static void *create(oxidag_text config, oxidag_answer why) {
    static char nothing;
    (void)config;
    (void)why;
    return &nothing;
}

static int32_t run(void *engine, oxidag_text task, const oxidag_host *host, oxidag_attempt attempt) {
    (void)engine;
    (void)task;
    host->complete(attempt, TEXT("{\"outcome\": {\"metrics\": {\"number\": 0}}}"));
    return OXIDAG_DONE;
}

static void destroy(void *engine) {
    (void)engine;
}

OXIDAG_ENGINE("empty", "1.0.0", describe, create, NULL, NULL, run, destroy);
