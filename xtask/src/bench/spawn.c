/* The least that so many processes cost: two threads start /bin/true and wait for it, in turn. `spawn COUNT` */
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

static atomic_long left;
static atomic_int failed;

static void *work(void *nothing) {
    char *arguments[] = {"/bin/true", NULL};
    while (atomic_fetch_sub(&left, 1) > 0) {
        pid_t child;
        int status = 0;
        if (posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ) != 0 ||
            waitpid(child, &status, 0) != child || status != 0) {
            atomic_store(&failed, 1);
        }
    }
    return nothing;
}

int main(int count, char **arguments) {
    pthread_t other;
    atomic_store(&left, count == 2 ? strtol(arguments[1], NULL, 10) : 0);
    if (pthread_create(&other, NULL, work, NULL) != 0) {
        return 1;
    }
    work(NULL);
    pthread_join(other, NULL);
    if (atomic_load(&failed)) {
        fputs("a process could not be started or did not end well\n", stderr);
        return 1;
    }
    return 0;
}
