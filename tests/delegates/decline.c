/* A delegate that is made, then refuses the model. */
#include <stdlib.h>

#include "delegate.h"

static int prepare(Context *context, Delegate *delegate)
{
    (void)delegate;
    context->report_error(context, "this model is too large for me");
    return TFLITE_ERROR;
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
