/* A delegate that loads and takes no operator: the CPU still does all the work.
 */
#include <stdlib.h>

#include "delegate.h"

static int prepare(Context *context, Delegate *delegate)
{
    (void)context, (void)delegate;
    return TFLITE_OK;
}

Delegate *tflite_plugin_create_delegate(const char *const *keys,
                                        const char *const *values, size_t n,
                                        void (*report_error)(const char *))
{
    (void)keys, (void)values, (void)n, (void)report_error;
    Delegate *delegate = calloc(1, sizeof *delegate);
    if (delegate != NULL) {
        delegate->prepare = prepare;
    }
    return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate)
{
    free(delegate);
}
