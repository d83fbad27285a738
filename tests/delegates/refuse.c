/* A delegate that refuses to be made; option `text` is what it says, if any.
 *
 * Without the option it says nothing, as libedgetpu does for a busy device.
 */
#include <string.h>

#include "delegate.h"

Delegate *tflite_plugin_create_delegate(const char *const *keys,
                                        const char *const *values, size_t n,
                                        void (*report_error)(const char *))
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i], "text") == 0 && report_error != NULL) {
            report_error(values[i]);
        }
    }
    return NULL;
}

void tflite_plugin_destroy_delegate(Delegate *delegate)
{
    (void)delegate;
}
