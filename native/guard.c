/* guard.c - see guard.h. */
#define _POSIX_C_SOURCE 200809L
#include "guard.h"

#include <pthread.h>
#include <stddef.h>

static int hold(void)
{
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return state;
}

static void release(int state)
{
    pthread_setcancelstate(state, &state);
}

int es_guard_frames(uint32_t n_frames, void *callback)
{
    int (*call)(uint32_t, void *) = (int (*)(uint32_t, void *))callback;
    int state = hold();
    int result = call(n_frames, NULL);
    release(state);
    return result;
}

int es_guard_event(void *callback)
{
    int (*call)(void *) = (int (*)(void *))callback;
    int state = hold();
    int result = call(NULL);
    release(state);
    return result;
}

void es_guard_mode(int mode, void *callback)
{
    void (*call)(int, void *) = (void (*)(int, void *))callback;
    int state = hold();
    call(mode, NULL);
    release(state);
}

void es_guard_shutdown(int status, const char *reason, void *callback)
{
    void (*call)(int, const char *, void *) =
        (void (*)(int, const char *, void *))callback;
    int state = hold();
    call(status, reason, NULL);
    release(state);
}

void es_ignore_message(const char *message)
{
    (void)message;
}
