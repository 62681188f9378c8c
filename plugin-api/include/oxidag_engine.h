/*
 * oxidag_engine.h: an engine of oxidag in C, or in any language that can export C symbols. ABI 1.1.
 *
 * A shared library is an engine once it exports two symbols:
 *
 *   oxidag_engine_handshake   who it is; a flat struct that is read from the file before anything of it runs
 *   oxidag_engine_c_v1        its functions, an oxidag_engine_table
 *
 * OXIDAG_ENGINE("name", "version", functions) defines both. docs/abi.md is the reference, examples/engine-c an engine.
 *
 * What holds for every function here:
 *
 *  - Texts are UTF-8 with a length and need no zero byte at their end. Objects are JSON, the same as for engines in Rust.
 *  - No memory changes hands. A text is the caller's and is there until the call returns; who needs it longer copies it.
 *    What is answered is said to an oxidag_answer, while the call lasts.
 *  - Any function may be called on any thread, several at once, on the engine's side as on the host's.
 *  - Nothing leaves a function but by its return: no C++ exception, no longjmp.
 *  - Tables begin with their size in bytes and only ever grow at their end. OXIDAG_HAS tells whether a table that the
 *    other side made has a function.
 */
#ifndef OXIDAG_ENGINE_H
#define OXIDAG_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The ABI of this header. A host takes engines of its own major version; a host of 2 will take those of 1 too. */
#define OXIDAG_ABI_MAJOR 1
#define OXIDAG_ABI_MINOR 1

/* The version of the crate oxidag-plugin-api that this header belongs to. */
#define OXIDAG_PLUGIN_API_VERSION "1.2.0"

/* Whether a table that the other side made reaches to this member: OXIDAG_HAS(oxidag_host, host, query). */
#define OXIDAG_HAS(type, table, member) ((table)->size >= offsetof(type, member) + sizeof((table)->member))

/* A text of the caller's, for as long as the call lasts. Empty, its data may be NULL. */
typedef struct oxidag_text {
    const char *data;
    size_t length; /* in bytes */
} oxidag_text;

/* Where an answer is said: say(to, text), once, on the thread of the call, before the call returns. Towards the host, say
 * may be NULL where nobody listens. */
typedef struct oxidag_answer {
    void *to;
    void (*say)(void *to, oxidag_text text);
} oxidag_answer;

/* One attempt of one task: a number that is given only once. It stands for the attempt until complete, or until run has
 * returned OXIDAG_DONE; what is done with it later has no effect, and says so. */
typedef uint64_t oxidag_attempt;

/* What functions return that may fail: OXIDAG_OK, or OXIDAG_FAILED and why. */
enum { OXIDAG_OK = 0, OXIDAG_FAILED = 1 };

/* What run returns; after anything else the attempt fails, unless it has ended. */
enum {
    OXIDAG_DONE = 0, /* the attempt has ended; one that has not fails, and the engine gets the blame */
    OXIDAG_LATER = 2 /* it goes on; the engine calls complete when it ends, on a thread of its own */
};

/* How important a line of a log is, or which stream of a script it comes from. */
enum {
    OXIDAG_DEBUG = 0,
    OXIDAG_INFO = 1,
    OXIDAG_WARN = 2,
    OXIDAG_ERROR = 3,
    OXIDAG_STDOUT = 4,
    OXIDAG_STDERR = 5
};

/* Called once: with stop = 1 when the attempt is asked to stop, or with stop = 0 when it has ended without. It runs on a
 * thread of the host, maybe within on_cancel or complete, so it takes no lock that is held around these, and is quick.
 * Whoever kills the scheduler keeps it from being called. */
typedef void (*oxidag_stop)(void *data, int32_t stop);

/* What the host does for a running attempt. The table is there as long as the process is. */
typedef struct oxidag_host {
    /* The bytes of this struct in the host. */
    size_t size;
    /* Lines for the task's log. Bytes that are not UTF-8 are replaced. */
    void (*log)(oxidag_attempt attempt, int32_t level, oxidag_text text);
    /* How far the attempt has come, from 0 to 1; any other number where that is not known. */
    void (*progress)(oxidag_attempt attempt, double fraction, oxidag_text message);
    /* 1 if the attempt is to stop, and also when it has ended; else 0. */
    int32_t (*cancelled)(oxidag_attempt attempt);
    /* Asks for a call of stop(data, …), which comes at once where the attempt is to stop already or has ended. */
    void (*on_cancel)(oxidag_attempt attempt, oxidag_stop stop, void *data);
    /* Stores JSON by which the engine finds its work again after a crash, and returns once it is stored. */
    int32_t (*checkpoint)(oxidag_attempt attempt, oxidag_text json, oxidag_answer why);
    /* Adds tasks and rules to the run's graph, written as in a DAG file: all of them or, where one is wrong, none. */
    int32_t (*append)(oxidag_attempt attempt, oxidag_text json, oxidag_answer why);
    /* Looks at the run's graph. The answer is JSON or, after OXIDAG_FAILED, why there is none. */
    int32_t (*query)(oxidag_attempt attempt, oxidag_text json, oxidag_answer answer);
    /* Ends the attempt, with {"outcome": {"result": …, "metrics": {…}}} or {"error": {"kind": "failed", "message": "…"}}.
     * OXIDAG_FAILED: it had ended already, and nothing has changed. */
    int32_t (*complete)(oxidag_attempt attempt, oxidag_text end);
} oxidag_host;

/* The engine's functions. `engine` is what create has returned. */
typedef struct oxidag_engine_table {
    /* sizeof(oxidag_engine_table) */
    size_t size;
    /* Says what it is, as JSON: config_schema (a JSON Schema), mode ("blocking", "async" or "per_task"), script_suffix;
     * other_suffixes, by_reference and verbatim as docs/abi.md has them. */
    void (*describe)(oxidag_answer answer);
    /* An engine with this configuration, JSON. oxidag has held it against the schema, others need not have: the engine checks
     * what it reads. NULL: it is refused, and why has the error as JSON. An engine that keeps nothing returns any other
     * pointer. */
    void *(*create)(oxidag_text config, oxidag_answer why);
    /* In mode per_task: 1 if a task with these parameters, a JSON object, keeps its thread until it ends. Else NULL. */
    int32_t (*blocks)(void *engine, oxidag_text params);
    /* Looks at a task without running it: OXIDAG_OK and a JSON list of findings, or OXIDAG_FAILED and an error. May be
     * NULL. */
    int32_t (*validate)(void *engine, oxidag_text task, oxidag_answer answer);
    /* Runs an attempt of a task. It ends by complete, before or after this returns, and once. */
    int32_t (*run)(void *engine, oxidag_text task, const oxidag_host *host, oxidag_attempt attempt);
    /* Ends the engine. No call is in it and none follows; an attempt that the host has abandoned may still go on. */
    void (*destroy)(void *engine);
} oxidag_engine_table;

/* What a library says of itself. Texts are UTF-8 and end with a zero byte. Its layout is the same for all times. */
typedef struct oxidag_handshake {
    char magic[16];
    uint32_t abi_major;
    uint32_t abi_minor;
    char plugin_api[32];
    char compiler[96];
    char target[64];
    char engine[64];
    char engine_version[32];
} oxidag_handshake;

#define OXIDAG_MAGIC {'o', 'x', 'i', 'd', 'a', 'g', ' ', 'e', 'n', 'g', 'i', 'n', 'e', 0, 0, 1}

#if defined(__clang__)
#define OXIDAG_COMPILER __VERSION__
#elif defined(__GNUC__)
#define OXIDAG_COMPILER "gcc " __VERSION__
#else
#define OXIDAG_COMPILER "a C compiler"
#endif

/* The target's name, as Rust has it; -DOXIDAG_TARGET='"…"' says it where this guess is wrong. */
#ifndef OXIDAG_TARGET
#if defined(__x86_64__) || defined(_M_X64)
#define OXIDAG_TARGET_CPU "x86_64"
#elif defined(__aarch64__) || defined(_M_ARM64)
#define OXIDAG_TARGET_CPU "aarch64"
#elif defined(__riscv) && __riscv_xlen == 64
#define OXIDAG_TARGET_CPU "riscv64gc"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define OXIDAG_TARGET_CPU "powerpc64le"
#elif defined(__s390x__)
#define OXIDAG_TARGET_CPU "s390x"
#else
#define OXIDAG_TARGET_CPU "unknown"
#endif
#if defined(__linux__)
#define OXIDAG_TARGET OXIDAG_TARGET_CPU "-unknown-linux-gnu"
#elif defined(__APPLE__)
#define OXIDAG_TARGET OXIDAG_TARGET_CPU "-apple-darwin"
#elif defined(_WIN32)
#define OXIDAG_TARGET OXIDAG_TARGET_CPU "-pc-windows"
#else
#define OXIDAG_TARGET OXIDAG_TARGET_CPU "-unknown"
#endif
#endif

#if defined(_WIN32)
#define OXIDAG_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define OXIDAG_EXPORT __attribute__((visibility("default")))
#else
#define OXIDAG_EXPORT
#endif

extern OXIDAG_EXPORT const oxidag_handshake oxidag_engine_handshake;
extern OXIDAG_EXPORT const oxidag_engine_table oxidag_engine_c_v1;

/* Makes the library an engine, once, at the top of a file:
 *
 *     OXIDAG_ENGINE("sum", "1.0.0", describe, create, NULL, validate, run, destroy);
 *
 * The functions are those of oxidag_engine_table, in its order. */
#define OXIDAG_ENGINE(name, version, ...)                                                                  \
    const oxidag_handshake oxidag_engine_handshake = {OXIDAG_MAGIC,     OXIDAG_ABI_MAJOR, OXIDAG_ABI_MINOR, \
                                                      OXIDAG_PLUGIN_API_VERSION,                           \
                                                      OXIDAG_COMPILER,  OXIDAG_TARGET,    name, version};  \
    const oxidag_engine_table oxidag_engine_c_v1 = {sizeof(oxidag_engine_table), __VA_ARGS__}

#ifdef __cplusplus
}
#endif

#endif
