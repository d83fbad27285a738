/* guard.h - Python callbacks in threads that a library may cancel.
 *
 * JACK 2 ends its threads with pthread_cancel when a client leaves
 * (JackClient::Deactivate, JackSocketClientChannel::Stop).  A thread that is
 * cancelled while it waits for Python's interpreter lock takes that lock's
 * mutex with it, and the program stands still for ever.  Behind these functions
 * a callback cannot be cancelled; the thread ends when it is back in the
 * library.
 *
 * Each has the type of one of JACK's callbacks.  `callback` is a function of
 * the same type; it gets NULL as its last argument.
 */
#ifndef EDGESTEM_GUARD_H
#define EDGESTEM_GUARD_H

#include <stdint.h>

/* cffi: begin */

/* JackProcessCallback, JackBufferSizeCallback */
int es_guard_frames(uint32_t n_frames, void *callback);

/* JackXRunCallback */
int es_guard_event(void *callback);

/* JackFreewheelCallback, JackLatencyCallback */
void es_guard_mode(int mode, void *callback);

/* JackInfoShutdownCallback */
void es_guard_shutdown(int status, const char *reason, void *callback);

/* For jack_set_error_function: does nothing, and Python never hears of it. */
void es_ignore_message(const char *message);

/* cffi: end */

#endif
