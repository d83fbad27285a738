/* A delegate that dies while it is made, as a library of another ABI does. */
#include <stddef.h>

#include "delegate.h"

Delegate *tflite_plugin_create_delegate(const char *const *keys,
                                        const char *const *values, size_t n,
                                        void (*report_error)(const char *))
{
    (void)keys, (void)values, (void)n, (void)report_error;
    *(volatile int *)0 = 1;
    return NULL;
}

void tflite_plugin_destroy_delegate(Delegate *delegate)
{
    (void)delegate;
}
