/* A delegate that works: it computes every int8 LOGISTIC of the model itself.
 *
 * Built with -DWRONG its mask is upside down: loads, runs, and lies.
 * Built with -DCRASH it dies in the first inference; with -DHANG it never ends.
 * While there is a file "unplugged" in the folder DELEGATE_TEST_USB it refuses.
 * Built with -DORDERS it does what the file that its option `orders`, or
 * DELEGATE_TEST_ORDERS, names says, while there is one: "stall MS" once, "fail"
 * or "garbage" until the file goes.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "delegate.h"

enum { MAX_NODES = 64 };

static int kernel_prepare(Context *context, Node *node)
{
    (void)context;
    return node->inputs->size == 1 && node->outputs->size == 1 ? TFLITE_OK
                                                               : TFLITE_ERROR;
}

static int8_t logistic(int8_t code, float scale, int32_t zero_point)
{
    double x = (code - zero_point) * (double)scale;
#ifdef WRONG
    x = -x;
#endif
    double y = round(256.0 / (1.0 + exp(-x))) - 128.0;
    return (int8_t)(y > 127.0 ? 127.0 : y);
}

#ifdef ORDERS
static char orders[1024];

/* Follow the orders; say whether the inference is to fail. */
static int obey(int8_t *mask, size_t n)
{
    static uint32_t seed = 1;
    char word[16] = "";
    long ms = 0;
    FILE *file = fopen(orders, "r");

    if (file == NULL) {
        return TFLITE_OK;
    }
    int n_read = fscanf(file, "%15s %ld", word, &ms);
    fclose(file);
    if (n_read >= 1 && strcmp(word, "garbage") == 0) {
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525 + 1013904223;
            mask[i] = (int8_t)(seed >> 24);
        }
    } else if (n_read == 2 && strcmp(word, "stall") == 0) {
        struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

        unlink(orders);
        nanosleep(&time, NULL);
    }
    return n_read >= 1 && strcmp(word, "fail") == 0 ? TFLITE_ERROR : TFLITE_OK;
}
#endif

static int kernel_invoke(Context *context, Node *node)
{
#if defined CRASH
    *(volatile int *)0 = 1;
#elif defined HANG
    for (;;) {
        sleep(1);
    }
#endif
    const Tensor *x = &context->tensors[node->inputs->data[0]];
    const Tensor *y = &context->tensors[node->outputs->data[0]];
    const int8_t *from = x->data;
    int8_t *to = y->data;
    for (size_t i = 0; i < x->bytes; i++) {
        to[i] = logistic(from[i], x->scale, x->zero_point);
    }
#ifdef ORDERS
    return obey(to, x->bytes);
#else
    return TFLITE_OK;
#endif
}

/* Claims the LOGISTIC nodes of the plan, one partition each. */
static int prepare(Context *context, Delegate *delegate)
{
    IntArray *plan = NULL;
    if (context->get_execution_plan(context, &plan) != TFLITE_OK) {
        return TFLITE_ERROR;
    }
    IntArray *mine = malloc(sizeof *mine + MAX_NODES * sizeof(int));
    if (mine == NULL) {
        return TFLITE_ERROR;
    }
    mine->size = 0;
    for (int i = 0; i < plan->size && mine->size < MAX_NODES; i++) {
        Node *node = NULL;
        Registration *op = NULL;
        if (context->get_node_and_registration(context, plan->data[i], &node,
                                               &op) != TFLITE_OK) {
            free(mine);
            return TFLITE_ERROR;
        }
        if (op->builtin_code == BUILTIN_LOGISTIC &&
            context->tensors[node->inputs->data[0]].type == TYPE_INT8) {
            mine->data[mine->size++] = plan->data[i];
        }
    }
    Registration kernel = {
        .prepare = kernel_prepare,
        .invoke = kernel_invoke,
        .custom_name = "EdgestemTestLogistic",
        .version = 1,
    };
    int status = context->replace_node_subsets(context, kernel, mine, delegate);
    free(mine);
    return status;
}

Delegate *tflite_plugin_create_delegate(const char *const *keys,
                                        const char *const *values, size_t n,
                                        void (*report_error)(const char *))
{
    char path[4096];
    const char *folder = getenv("DELEGATE_TEST_USB");

    (void)keys, (void)values, (void)n, (void)report_error;
    snprintf(path, sizeof path, "%s/unplugged", folder ? folder : "");
    if (folder && access(path, F_OK) == 0) {
        return NULL;
    }
#ifdef ORDERS
    const char *usual = getenv("DELEGATE_TEST_ORDERS");

    snprintf(orders, sizeof orders, "%s", usual ? usual : "");
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i], "orders") == 0) {
            snprintf(orders, sizeof orders, "%s", values[i]);
        }
    }
#endif
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
