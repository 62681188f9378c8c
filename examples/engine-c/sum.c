/*
 * sum.c: an engine of oxidag in C. A script has whole numbers, one a line; the task's result is their sum.
 *
 * It is asynchronous: run starts a thread and returns, so a task that waits keeps none of oxidag's workers. Each number
 * takes pause_ms, as if it came from somewhere slow, and a checkpoint is stored behind it: after a crash of the scheduler
 * the sum goes on where it was.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "oxidag_engine.h"

/* What plugins.toml says. */
struct engine {
    long long pause_ms;
    long long least;
    long long most;
};

/* One attempt. Its thread and the host's callback each hold it, and the last one to go frees it. */
struct work {
    const oxidag_host *host;
    oxidag_attempt attempt;
    struct engine engine;
    char *script;
    size_t lines;
    size_t done;
    long long sum;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    int stop;
    int holders;
};

static oxidag_text text_of(const char *text) {
    oxidag_text borrowed = {text, strlen(text)};
    return borrowed;
}

static void say(oxidag_answer answer, const char *text) {
    if (answer.say != NULL) {
        answer.say(answer.to, text_of(text));
    }
}

static void describe(oxidag_answer answer) {
    say(answer, "{\"mode\": \"async\", \"script_suffix\": \".txt\", \"config_schema\": {"
                "\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
                "\"pause_ms\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 60000,"
                " \"description\": \"How long each number takes, in milliseconds.\"},"
                "\"least\": {\"type\": \"integer\", \"description\": \"No number may be less.\"},"
                "\"most\": {\"type\": \"integer\", \"description\": \"No number may be greater.\"}}}}");
}

/* Takes a value of the configuration; 0 where the engine has no such key, or the value is no number for it. */
static int configure(struct engine *engine, oxidag_text name, oxidag_text value) {
    const long long none = LLONG_MIN;
    long long number = json_number(value, none);
    if (number == none) {
        return 0;
    }
    if (name.length == 8 && memcmp(name.data, "pause_ms", 8) == 0) {
        engine->pause_ms = number;
        return number >= 0 && number <= 60000;
    }
    if (name.length == 5 && memcmp(name.data, "least", 5) == 0) {
        engine->least = number;
        return 1;
    }
    if (name.length == 4 && memcmp(name.data, "most", 4) == 0) {
        engine->most = number;
        return 1;
    }
    return 0;
}

/* The host has held the configuration against the schema, and tells of mistakes better; the engine does not rely on it. */
static void *create(oxidag_text config, oxidag_answer why) {
    struct engine read = {0, -1000000000, 1000000000};
    oxidag_text name, value;
    if (config.length == 0 || config.data[0] != '{' || config.data[config.length - 1] != '}') {
        say(why, "{\"kind\": \"invalid\", \"message\": \"the configuration is no object\"}");
        return NULL;
    }
    while (json_next(&config, &name, &value)) {
        if (!configure(&read, name, value)) {
            say(why, "{\"kind\": \"invalid\", \"message\": \"only numbers for pause_ms, least and most are known\"}");
            return NULL;
        }
    }
    if (read.least > read.most) {
        say(why, "{\"kind\": \"invalid\", \"message\": \"`least` is greater than `most`\"}");
        return NULL;
    }
    struct engine *engine = malloc(sizeof *engine);
    if (engine == NULL) {
        say(why, "{\"kind\": \"failed\", \"message\": \"out of memory\"}");
        return NULL;
    }
    *engine = read;
    return engine;
}

static void destroy(void *engine) {
    free(engine);
}

/* Takes a number off the script; 0 where the line holds none that the engine takes. An empty line counts as 0. */
static int take_number(const char **script, const struct engine *engine, long long *number) {
    const char *line_end = *script + strcspn(*script, "\n");
    const char *number_end = line_end;
    *number = 0;
    if (strspn(*script, " \t\r") < (size_t)(line_end - *script)) {
        char *end = NULL;
        errno = 0;
        *number = strtoll(*script, &end, 10);
        number_end = end == *script ? *script : end + strspn(end, " \t\r");
    }
    *script = *line_end == '\n' ? line_end + 1 : line_end;
    return number_end == line_end && errno == 0 && *number >= engine->least && *number <= engine->most;
}

static size_t count_lines(const char *script) {
    size_t lines = 0;
    for (; *script != '\0'; lines++) {
        script += strcspn(script, "\n");
        script += *script == '\n';
    }
    return lines;
}

/* The script's text, for free(); NULL where the task has none. */
static char *script_of(oxidag_text task) {
    return json_string(json_member(json_member(task, "script"), "text"));
}

static int32_t validate(void *data, oxidag_text task, oxidag_answer answer) {
    char *script = script_of(task);
    if (script == NULL) {
        say(answer, "{\"kind\": \"invalid\", \"message\": \"the task has no script that can be read\"}");
        return OXIDAG_FAILED;
    }
    char finding[128] = "[]";
    const char *rest = script;
    long long number = 0;
    for (size_t line = 1; *rest != '\0'; line++) {
        if (!take_number(&rest, data, &number)) {
            snprintf(finding, sizeof finding,
                     "[{\"severity\": \"error\", \"message\": \"no number that this engine takes\", \"line\": %zu}]", line);
            break;
        }
    }
    free(script);
    say(answer, finding);
    return OXIDAG_OK;
}

/* One of the two that hold it goes. */
static void let_go(struct work *work) {
    pthread_mutex_lock(&work->mutex);
    int left = --work->holders;
    pthread_mutex_unlock(&work->mutex);
    if (left == 0) {
        pthread_cond_destroy(&work->stopped);
        pthread_mutex_destroy(&work->mutex);
        free(work->script);
        free(work);
    }
}

/* The host calls it once, whether the attempt is to stop or has ended. */
static void on_stop(void *data, int32_t stop) {
    struct work *work = data;
    pthread_mutex_lock(&work->mutex);
    work->stop = stop;
    pthread_cond_signal(&work->stopped);
    pthread_mutex_unlock(&work->mutex);
    let_go(work);
}

/* Waits for the pause; 0 if the attempt is to stop. */
static int pause_between(struct work *work) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    long long nanoseconds = until.tv_nsec + work->engine.pause_ms % 1000 * 1000000;
    until.tv_sec += work->engine.pause_ms / 1000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_mutex_lock(&work->mutex);
    int waited = 0;
    while (!work->stop && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&work->stopped, &work->mutex, &until);
    }
    int stop = work->stop;
    pthread_mutex_unlock(&work->mutex);
    return !stop;
}

static void fail(const struct work *work, const char *kind, const char *message, size_t line) {
    char end[160];
    snprintf(end, sizeof end, "{\"error\": {\"kind\": \"%s\", \"message\": \"%s %zu\"}}", kind, message, line);
    work->host->complete(work->attempt, text_of(end));
}

/* Why a checkpoint was not stored goes to the log. */
static void log_why(void *data, oxidag_text why) {
    const struct work *work = data;
    work->host->log(work->attempt, OXIDAG_WARN, why);
}

/* Stores how far it has come, and shows it. */
static int tell(struct work *work) {
    char json[96];
    oxidag_answer why = {work, log_why};
    snprintf(json, sizeof json, "{\"lines\": %zu, \"sum\": %lld}", work->done, work->sum);
    if (work->host->checkpoint(work->attempt, text_of(json), why) != OXIDAG_OK) {
        return 0;
    }
    work->host->progress(work->attempt, (double)work->done / (double)work->lines, text_of(json));
    return 1;
}

static void sum_up(struct work *work) {
    const char *rest = work->script;
    for (size_t line = 1; *rest != '\0'; line++) {
        long long number = 0;
        int taken = take_number(&rest, &work->engine, &number);
        if (line <= work->done) {
            continue;
        }
        if (!pause_between(work)) {
            fail(work, "cancelled", "stopped before line", line);
            return;
        }
        if (!taken) {
            fail(work, "failed", "no number that this engine takes in line", line);
            return;
        }
        work->sum += number;
        work->done = line;
        if (!tell(work)) {
            fail(work, "transient", "cannot store a checkpoint behind line", line);
            return;
        }
    }
    char end[96];
    snprintf(end, sizeof end, "{\"outcome\": {\"result\": %lld, \"metrics\": {\"lines\": %zu}}}", work->sum, work->done);
    work->host->complete(work->attempt, text_of(end));
}

static void *thread_of(void *data) {
    sum_up(data);
    let_go(data);
    return NULL;
}

static struct work *work_on(const struct engine *engine, oxidag_text task, const oxidag_host *host, oxidag_attempt attempt) {
    struct work *work = calloc(1, sizeof *work);
    char *script = script_of(task);
    if (work == NULL || script == NULL) {
        free(work);
        free(script);
        return NULL;
    }
    oxidag_text checkpoint = json_member(task, "checkpoint");
    work->host = host;
    work->attempt = attempt;
    work->engine = *engine;
    work->script = script;
    work->lines = count_lines(script);
    work->done = (size_t)json_number(json_member(checkpoint, "lines"), 0);
    work->sum = json_number(json_member(checkpoint, "sum"), 0);
    work->holders = 2;
    pthread_mutex_init(&work->mutex, NULL);
    pthread_cond_init(&work->stopped, NULL);
    return work;
}

static int32_t run(void *engine, oxidag_text task, const oxidag_host *host, oxidag_attempt attempt) {
    struct work *work = work_on(engine, task, host, attempt);
    if (work == NULL) {
        host->complete(attempt, text_of("{\"error\": {\"kind\": \"invalid\","
                                        " \"message\": \"the task has no script that can be read\"}}"));
        return OXIDAG_DONE;
    }
    char line[96];
    const char *how = work->done > 0 ? "goes on" : "begins";
    snprintf(line, sizeof line, "%s: %zu of %zu lines are summed up", how, work->done, work->lines);
    host->log(attempt, OXIDAG_INFO, text_of(line));
    host->on_cancel(attempt, on_stop, work);
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_of, work) != 0) {
        fail(work, "transient", "no thread could be started; lines to sum:", work->lines);
        let_go(work);
        return OXIDAG_DONE;
    }
    pthread_detach(thread);
    return OXIDAG_LATER;
}

OXIDAG_ENGINE("sum", "1.0.0", describe, create, NULL, validate, run, destroy);
