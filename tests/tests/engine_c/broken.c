/*
 * An engine in C that breaks its word: in its symbols, as it was compiled, or in a task, as the script says. For tests.
 */
#include <stdlib.h>
#include <string.h>

#include "oxidag_engine.h"

#ifdef STARTS_A_THREAD
#include <pthread.h>

/* Runs until the process ends, in this library's code. */
static void *stays(void *nothing) {
    static volatile int turns;
    for (;;) {
        turns++;
    }
    return nothing;
}

__attribute__((constructor)) static void loaded(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, stays, NULL);
}
#endif

#define TEXT(literal) ((oxidag_text){literal, sizeof literal - 1})

static const char outcome[] = "{\"outcome\": {\"result\": 7}}";

static void describe(oxidag_answer answer) {
#if defined(DESCRIBES_NOTHING)
    (void)answer;
#elif defined(DESCRIBES_IN_LATIN)
    answer.say(answer.to, TEXT("{\"mode\": \"caf\xe9\"}"));
#else
    answer.say(answer.to, TEXT("{\"mode\": \"blocking\", \"script_suffix\": \".txt\", \"config_schema\": true}"));
    answer.say(answer.to, TEXT("a second answer, to which nobody listens"));
#endif
}

static void *create(oxidag_text config, oxidag_answer why) {
    (void)config;
#if defined(CREATES_NOTHING)
    (void)why;
    return NULL;
#elif defined(CREATE_FAILS)
    why.say(why.to, TEXT("{\"kind\": \"invalid\", \"message\": \"told to fail\"}"));
    return NULL;
#elif defined(CREATE_FAILS_IN_LATIN)
    why.say(why.to, TEXT("caf\xe9"));
    return NULL;
#else
    static char nothing;
    (void)why;
    return &nothing;
#endif
}

/* Whether the task's script is this. */
static int says(oxidag_text task, const char *what) {
    char script[64] = "\"text\":\"";
    strncat(script, what, sizeof script - strlen(script) - 1);
    for (size_t i = 0; i + strlen(script) <= task.length; i++) {
        if (memcmp(task.data + i, script, strlen(script)) == 0) {
            return 1;
        }
    }
    return 0;
}

static int32_t run(void *engine, oxidag_text task, const oxidag_host *host, oxidag_attempt attempt) {
    oxidag_text null = {NULL, 5};
    oxidag_answer nobody = {NULL, NULL};
    (void)engine;
    if (says(task, "end twice")) {
        host->complete(attempt, TEXT(outcome));
        return host->complete(attempt, TEXT("{\"error\": {\"kind\": \"failed\", \"message\": \"second\"}}"));
    } else if (says(task, "never end")) {
        return OXIDAG_DONE;
    } else if (says(task, "end in latin")) {
        host->complete(attempt, TEXT("caf\xe9"));
    } else if (says(task, "end in null")) {
        host->complete(attempt, null);
    } else if (says(task, "end in nonsense")) {
        host->complete(attempt, TEXT("[]"));
    } else if (says(task, "say nonsense")) {
        host->log(attempt, 77, TEXT("caf\xe9"));
        host->log(attempt, OXIDAG_INFO, null);
        host->progress(attempt, 1e300, null);
        host->on_cancel(attempt, NULL, NULL);
        if (host->checkpoint(attempt, null, nobody) != OXIDAG_FAILED ||
            host->append(attempt, TEXT("caf\xe9"), nobody) != OXIDAG_FAILED ||
            host->query(attempt, TEXT("{"), nobody) != OXIDAG_FAILED) {
            return OXIDAG_DONE;
        }
        host->complete(attempt, TEXT(outcome));
    } else if (says(task, "use another's")) {
        host->log(attempt + 1000, OXIDAG_INFO, TEXT("not mine"));
        if (host->complete(0, TEXT(outcome)) == OXIDAG_FAILED && host->cancelled(attempt + 1000) == 1) {
            host->complete(attempt, TEXT(outcome));
        }
    } else {
        host->complete(attempt, TEXT(outcome));
    }
    return OXIDAG_DONE;
}

static void destroy(void *engine) {
    (void)engine;
}

#ifndef MAJOR
#define MAJOR OXIDAG_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR OXIDAG_ABI_MINOR
#endif
#ifndef SIZE
#define SIZE sizeof(oxidag_engine_table)
#endif

#ifdef WRONG_MAGIC
const oxidag_handshake oxidag_engine_handshake = {"oxidag engine?", MAJOR, MINOR, "1", "cc", "here", "broken", "1"};
#else
const oxidag_handshake oxidag_engine_handshake = {
    OXIDAG_MAGIC, MAJOR, MINOR, OXIDAG_PLUGIN_API_VERSION, "cc", "here", "broken", "1"};
#endif

#if defined(NEWER)
/* A table of a later minor version, and a function that this one does not know. */
OXIDAG_EXPORT const struct {
    oxidag_engine_table known;
    void *later[3];
} oxidag_newer_table __asm__("oxidag_engine_c_v1") = {
    {sizeof(oxidag_engine_table) + 3 * sizeof(void *), describe, create, NULL, NULL, run, destroy},
    {(void *)outcome, (void *)outcome, (void *)outcome}};
#elif !defined(NO_TABLE)
#ifdef NO_RUN
#define run NULL
#endif
const oxidag_engine_table oxidag_engine_c_v1 = {SIZE, describe, create, NULL, NULL, run, destroy};
#endif
