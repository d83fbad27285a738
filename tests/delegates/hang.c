/* A delegate that never comes back, as a wedged USB device. */
#include <unistd.h>

#include "delegate.h"

Delegate *tflite_plugin_create_delegate(const char *const *keys,
                                        const char *const *values, size_t n,
                                        void (*report_error)(const char *))
{
    (void)keys, (void)values, (void)n, (void)report_error;
    for (;;) {
        sleep(1);
    }
}

void tflite_plugin_destroy_delegate(Delegate *delegate)
{
    (void)delegate;
}
