//! A clock that runs faster than the system's, for waits that would take a test too long.
//!
//! The program is told the time, and waits for it, through a library that is laid before the system's own.

use std::path::PathBuf;
use std::process::Command;

use oxidag_tests::Sandbox;

use super::RUN;

/// Since the program's start the steady clock has gone on twenty times as far. Threads that wait until a time on that
/// clock do so through `syscall`, and are woken when that time is theirs.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FASTER 20
#define SECOND 1000000000LL

static long (*system_call)(long, ...);
static long long start;

static long long nanos(const struct timespec *time) {
    return time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec of_nanos(long long nanos) {
    return (struct timespec){.tv_sec = nanos / SECOND, .tv_nsec = nanos % SECOND};
}

__attribute__((constructor)) static void begin(void) {
    struct timespec now;
    if (start)
        return;
    system_call = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    system_call(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    start = nanos(&now);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    begin();
    int result = system_call(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_MONOTONIC)
        *time = of_nanos(start + (nanos(time) - start) * FASTER);
    return result;
}

long syscall(long number, ...) {
    long a[6];
    struct timespec until;
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    begin();
    int operation = a[1] & FUTEX_CMD_MASK;
    if (number == SYS_futex && operation == FUTEX_WAIT_BITSET && !(a[1] & FUTEX_CLOCK_REALTIME) && a[3]) {
        until = of_nanos(start + (nanos((struct timespec *)a[3]) - start) / FASTER);
        a[3] = (long)&until;
    }
    return system_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
"#;

/// The command that runs `dag.json` as `r`, on the fast clock.
pub(crate) fn fast(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(&[&RUN, arguments].concat());
    command.env("LD_PRELOAD", library(sandbox));
    command
}

fn library(sandbox: &Sandbox) -> PathBuf {
    let (code, library) = (sandbox.write("clock.c", LIBRARY), sandbox.path().join("clock.so"));
    // The tests need a C compiler as the build does.
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &code]).arg("-ldl").status();
    assert!(compiled.unwrap().success());
    library
}
